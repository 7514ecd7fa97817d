"""MCP servers in files of the shape that other programs write."""

import json

import pytest

from tom.config.agent import Reconnect
from tom.config.settings import ConfigInvalid, Settings

USERS = "users: [{username: alice}]\n"
AGENT = """
mcp:
  servers:
    a: {transport: stdio, command: one, args: ["${WHERE:-here}"], env: {KEY: "${KEY}"}, cwd: /srv}
    b: {transport: streamable_http, url: "http://b.example/mcp", headers: {X-Key: "${KEY}"}}
"""


@pytest.fixture
def load(tmp_path):
    """``load(config, env, **files)``: the settings of these files, and the services of alice by name."""

    def loaded(config="", env=None, **files):
        (tmp_path / "config.yml").write_text(USERS + config)
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name.replace("_yml", ".yml").replace("_json", ".json")).write_text(text)
        env = {name: text.replace("{data}", str(tmp_path)) for name, text in (env or {}).items()}
        settings = Settings.load(tmp_path, env=env)
        return settings, {entry.name: entry for entry in settings.services["alice"]}

    return loaded


def refused(load, *arguments, **files):
    with pytest.raises(ConfigInvalid) as caught:
        load(*arguments, **files)
    return caught.value.errors


def test_the_file_beside_config_yml_is_read_without_being_named(load):
    servers = {"time": {"command": "mcp-time", "timeout": 5}, "off": {"command": "x", "disabled": True}}
    _, found = load(servers_config_json={"mcpServers": servers})
    assert (found["time"].command, found["time"].timeout, found["time"].enabled) == ("mcp-time", 5, True)
    assert not found["off"].enabled


def test_another_file_can_be_named_and_must_then_be_there(load, tmp_path):
    _, found = load("mcp: {config_file: other.json}", other_json={"mcpServers": {"time": {"url": "http://t/mcp"}}})
    assert found["time"].url == "http://t/mcp"
    missing = refused(load, "mcp: {config_file: none.json}")
    assert missing == [f"❌ Configuration not found: {tmp_path / 'none.json'}"]


def test_settings_of_the_file_hold_for_its_servers(load):
    settings = {"defaultTimeout": 7, "maxRetries": 2, "retryDelay": 3, "logLevel": "info"}
    config = "mcp: {connection: {max_reconnect_delay: 20, connection_timeout: 9}}\nservices: {s: {url: 'http://s/mcp'}}"
    loaded, found = load(config, servers_config_json={"mcpServers": {"time": {"command": "x"}}, "settings": settings})
    assert (found["time"].timeout, found["time"].connect_timeout) == (7, 9)
    assert found["time"].reconnect == Reconnect(attempts=2, first_delay=3, longest_delay=20)
    assert (found["s"].timeout, found["s"].reconnect) == (60, Reconnect(longest_delay=20))
    assert "⚠️ settings.logLevel is read past: see logging.level" in loaded.warnings


def test_without_reconnecting_a_lost_server_is_tried_rarely(load):
    servers = {"mcpServers": {"time": {"command": "x"}}, "settings": {"autoReconnect": False}}
    assert load(servers_config_json=servers)[1]["time"].reconnect == Reconnect(attempts=0)


def test_what_others_write_into_it_is_accepted_or_read_past(load):
    servers = {
        "web": {"type": "sse", "url": "http://w/mcp", "description": "For the web", "autoApprove": ["x"], "icon": "i"},
        "time": {"type": "stdio", "command": "${TIME:-mcp-time}", "alwaysAllow": [], "disabledTools": []},
    }
    settings, found = load(servers_config_json={"mcpServers": servers})
    assert (found["web"].description, found["time"].command) == ("For the web", "mcp-time")
    assert [line for line in settings.warnings if "servers_config.json" in line] == [
        "⚠️ servers_config.json: mcpServers.web: autoApprove, icon read past: policy decides what may be called",
        "⚠️ servers_config.json: mcpServers.web: sse is no longer a transport: streamable HTTP is spoken",
        "⚠️ servers_config.json: mcpServers.time: alwaysAllow, disabledTools read past: policy decides what may be called",
    ]


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ({"mcpServers": {"a": {"command": "x", "shell": True}}}, "mcpServers.a.shell: unknown key"),
        ({"mcpServers": {"a": {}}}, "mcpServers.a needs either 'command' or 'url'"),
        ({"mcpServers": {"a": {"type": "stdio", "url": "http://a/"}}}, "mcpServers.a has 'url', which 'stdio' does not go with"),
        ({"mcpServers": {"a": {"command": "${NOT_SET}"}}}, "mcpServers.a.command: variable NOT_SET is not set"),
        ({"mcpServers": {"s": {"command": "x"}}}, "mcpServers.s: services.s has the same name"),
        ({"services": {}}, "services: unknown key"),
        ({"mcpServers": {"a": {"command": "x", "enabled": True, "disabled": True}}}, "mcpServers.a: 'enabled' and 'disabled' contradict each other"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_told_with_its_name(load, file, error):
    config = "services: {s: {url: 'http://s/mcp'}}"
    assert refused(load, config, servers_config_json=file) == [f"config: servers_config.json: {error}"]


@pytest.mark.parametrize("key", ["servers", "inputs"])
def test_the_shape_of_editors_is_refused_with_the_shape_that_is_wanted(load, key):
    (error,) = refused(load, servers_config_json={key: {}})
    assert error.startswith(f'config: servers_config.json: {key}: write {{"mcpServers": ')


def test_a_server_has_to_say_that_it_is_enabled_where_that_is_required(load):
    config = "mcp: {server_execution: {require_enabled_flag: true}}"
    servers = {"a": {"command": "x"}, "b": {"command": "x", "enabled": True}}
    assert refused(load, config, servers_config_json={"mcpServers": servers}) == [
        "config: servers_config.json: mcpServers.a.enabled is required by mcp.server_execution.require_enabled_flag"
    ]


def test_the_file_of_mcp_agent_config_is_read(load):
    _, found = load("", {"MCP_AGENT_CONFIG": "{data}/agent.yml", "KEY": "canary-1"}, agent_yml=AGENT)
    assert (found["a"].command, found["a"].args, found["a"].cwd) == ("one", ("here",), "/srv")
    assert found["a"].env["KEY"].reveal() == found["b"].headers["X-Key"].reveal() == "canary-1"


@pytest.mark.parametrize(
    ("wanted", "names"), [("b", {"b"}), ("a, b", {"a", "b"}), ('["a"]', {"a"}), (" ", set()), ("[]", set())]
)
def test_mcp_agent_servers_chooses_from_it(load, wanted, names):
    env = {"MCP_AGENT_CONFIG": "{data}/agent.yml", "MCP_AGENT_SERVERS": wanted, "KEY": "k"}
    assert set(load("", env, agent_yml=AGENT)[1]) == names


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"MCP_AGENT_CONFIG": "/none/agent.yml"}, "Config file '/none/agent.yml' was not found."),
        ({"MCP_AGENT_CONFIG": "/x/agent.toml"}, "Unsupported config format. Expected a .yml or .yaml file."),
        ({"MCP_AGENT_SERVERS": "x, a"}, "MCP_AGENT_SERVERS names unknown servers: x. Known: a, b."),
        ({"MCP_AGENT_SERVERS": '{"a": 1}'}, "MCP_AGENT_SERVERS must be a comma-separated string or list."),
        ({"MCP_AGENT_SERVERS": "[1]"}, "MCP_AGENT_SERVERS must be a comma-separated string or list."),
        ({"MCP_AGENT_SERVERS": "[a"}, "MCP_AGENT_SERVERS must be a comma-separated string or list."),
    ],
)
def test_the_words_of_the_variables_errors(load, env, error):
    env = {"MCP_AGENT_CONFIG": "{data}/agent.yml", "KEY": "k"} | env
    assert refused(load, "", env, agent_yml=AGENT) == [f"config: environment: {error}"]


def test_one_name_stands_in_one_place_only(load):
    env = {"MCP_AGENT_CONFIG": "{data}/agent.yml", "KEY": "k"}
    errors = refused(load, "mcpServers: {a: {command: x}}", env, agent_yml=AGENT)
    assert errors == ["config: agent.yml: mcp.servers.a: mcpServers.a has the same name"]
