"""A chat file beside config.yml: where it is found, what it may say, and what happens when both say something."""

import json
from pathlib import Path

import pytest

from tom.config.init import write_first_config
from tom.config.settings import ConfigInvalid, Settings, load_standalone
from tom.config.written import CHAT_FILES

PEOPLE = "users: [{username: alice}]\n"


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The data directory and the working directory."""
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    (here / "config").mkdir(parents=True)
    (data / "config.yml").write_text(PEOPLE)
    monkeypatch.chdir(here)
    return data, here


def refused(data, env=None):
    with pytest.raises(ConfigInvalid) as caught:
        Settings.load(data, env=env or {})
    return caught.value.errors


def test_the_first_that_is_found_is_the_one(places):
    data, here = places
    folders = (data, here, here / "config")
    wanted = [folder / name for folder in folders for name in CHAT_FILES]
    for number, path in enumerate(wanted, 1):
        path.write_text(f"memory_max: {10 + number}\n")
    for number, path in enumerate(wanted, 1):
        assert Settings.load(data, env={}).doors.memory_max == 10 + number, path
        path.unlink()
    assert Settings.load(data, env={}).doors.memory_max == 50


def test_a_named_one_is_the_one(places, tmp_path):
    data, _ = places
    (data / "app.config.yaml").write_text("memory_max: 11\n")
    (tmp_path / "mine.yml").write_text("memory_max: 12\n")
    assert Settings.load(data, env={"APP_CONFIG_FILE": str(tmp_path / "mine.yml")}).doors.memory_max == 12
    assert Settings.load(data, env={"APP_CONFIG_FILE": "../mine.yml"}).doors.memory_max == 12


def test_the_example_is_never_loaded(places, repository):
    data, here = places
    for folder in (data, here, here / "config"):
        (folder / "app.config.example.yaml").write_text("memory_max: 12\n")
    assert Settings.load(data, env={}).doors.memory_max == 50


@pytest.mark.parametrize(
    ("named", "text", "error"),
    [
        ("none.yml", None, "environment: Config file 'none.yml' was not found."),
        ("a.json", "{}", "environment: Unsupported config format. Expected a .yml or .yaml file."),
        ("a.yml", "- 1\n", "a.yml: YAML configuration must define a mapping at the root level."),
        (
            "a.yml",
            "chat: {a: 1}\nchat: {a: 2}\n",
            "a.yml line 2, column 1: 'chat.a' is given twice with different values",
        ),
        ("a.yml", "memry_max: 1\n", "a.yml: memry_max: unknown key, did you mean 'memory_max'?"),
        ("a.yml", "users: []\n", "a.yml: users: belongs into config.yml"),
        ("a.yml", "chat: {service: {max_tool_hops: 65}}\n", "a.yml: chat.service.max_tool_hops must be at most 64"),
        ("a.yml", "rate_rps: [1]\n", "a.yml: RATE_RPS must be a number."),
        ("a.yml", "history_mysql_password: 0123\n", "a.yml: HISTORY_MYSQL_PASSWORD must be text; put it in quotes."),
        ("a.yml", "admin_token: '${NOT_SET}'\n", "a.yml: admin_token: variable NOT_SET is not set"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_its_name(places, named, text, error):
    data, here = places
    if text is not None:
        (here / named).write_text(text)
    assert refused(data, {"APP_CONFIG_FILE": named}) == [f"config: {error}"]


def test_both_files_together_are_the_settings(places):
    data, here = places
    (data / "config.yml").write_text(
        PEOPLE + "global: {llm: scripted}\nchat: {service: {max_tool_hops: 3}}\nmemory_max: 20\n"
    )
    (here / "app.config.yaml").write_text(
        "chat: {websocket: {port: 9001}}\nchat: {service: {titles: false}}\nmemory_max: 20\nlog_level: debug\n"
    )
    settings = Settings.load(data, env={})
    assert (settings.chat.max_tool_hops, settings.chat.port, settings.chat.titles) == (3, 9001, False)
    assert (settings.doors.memory_max, settings.log.level) == (20, "DEBUG")


def test_what_both_say_differently_is_an_error_that_names_both_places(places):
    data, here = places
    (data / "config.yml").write_text(PEOPLE + "global:\n  log_level: INFO\nmemory_max: 20\n")
    (here / "app.config.yaml").write_text("# mine\nmemory_max: 30\nlog_level: debug\n")
    there = data / "config.yml"
    assert sorted(refused(data)) == [
        f"config: app.config.yaml: log_level (line 3): {there} line 3 has a different value for global.log_level",
        f"config: app.config.yaml: memory_max (line 2): {there} line 4 has a different value for memory_max",
    ]


def test_a_variable_wins_over_both(places):
    data, here = places
    (data / "config.yml").write_text(PEOPLE + "memory_max: 20\n")
    (here / "app.config.yaml").write_text("rate_burst: 6\n")
    doors = Settings.load(data, env={"MEMORY_MAX": "21", "RATE_BURST": "7"}).doors
    assert (doors.memory_max, doors.rates.burst) == (21, 7)


def test_one_file_says_the_same_key_in_two_places(places):
    data, here = places
    (here / "app.config.yaml").write_text("chat_auth: local\nchat: {auth: token}\n")
    assert refused(data) == ["config: app.config.yaml: chat_auth: chat.auth has a different value"]


def test_an_agent_alone_needs_no_more_than_a_chat_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.config.yaml").write_text(
        "initial_system_prompt: Be brief.\nllm: {active: scripted}\n"
        "chat: {websocket: {port: 9002}, service: {repository: {type: sql, path: events.db}}}\n"
    )
    agent, _ = load_standalone({}, tmp_path / "data")
    assert (agent.llm, agent.chat.port, agent.doors.initial_prompt) == ("scripted", 9002, "Be brief.")
    # `sqlite3 events.db` is typed where the chat file is used.
    assert agent.persistence.path == str(tmp_path / "events.db")


def test_the_history_that_config_yml_names_is_in_the_data_directory(places):
    data, here = places
    (data / "config.yml").write_text("repository: {path: events.db}\n")
    (here / "app.config.yaml").write_text("memory_max: 20\n")
    assert load_standalone({}, data)[0].persistence.path == str(data / "events.db")


def test_servers_are_looked_for_beside_it(places):
    data, here = places
    (here / "config/app.config.yaml").write_text("memory_max: 20\n")
    servers = {"mcpServers": {"time": {"command": "mcp-time"}}}
    (here / "config/servers_config.json").write_text(json.dumps(servers))
    (data / "servers_config.json").write_text(json.dumps({"mcpServers": {"more": {"url": "http://m/mcp"}}}))
    assert [entry.name for entry in Settings.load(data, env={}).services["alice"]] == ["more", "time"]


def test_files_that_it_names_are_beside_it(places):
    data, here = places
    (here / "config/app.config.yaml").write_text("mcp_agent_config: agent.yml\nmcp: {config_file: other.json}\n")
    (here / "config/agent.yml").write_text("mcp: {servers: {a: {command: one}}}\n")
    (here / "config/other.json").write_text(json.dumps({"mcpServers": {"b": {"command": "two"}}}))
    assert [entry.name for entry in Settings.load(data, env={}).services["alice"]] == ["a", "b"]


def test_a_secret_may_stand_in_a_file_beside_it(places):
    data, here = places
    (here / "config/app.config.yaml").write_text("admin_token: file:token\nredis_url: 'redis://:${WORD}@h'\n")
    (here / "config/token").write_text("canary-0123456789\n")
    with (here / "config/app.config.yaml").open("a") as file:
        file.write("mcpServers: {m: {url: 'http://m/mcp', headers: {X-Key: file:token}}}\n")
    settings = Settings.load(data, env={"WORD": "canary"})
    doors = settings.doors
    assert settings.services["alice"][0].headers["X-Key"].reveal() == "canary-0123456789"
    assert (doors.admin_token.reveal(), doors.redis.url.reveal()) == ("canary-0123456789", "redis://:canary@h")


def test_a_dotenv_that_cannot_be_read_is_told(places):
    data, here = places
    Path(here / ".env").write_bytes(b"RATE_RPS=\xff\n")
    assert refused(data) == [f"config: .env: {here / '.env'} is not UTF-8"]


def test_a_first_config_yml_does_not_contradict_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.config.yaml").write_text(
        "llm: {active: groq, providers: {groq: {model: m}}}\nchat: {service: {context: {max_tokens: 5000}}}\n"
    )
    env = {"GROQ_API_KEY": "canary-1"}
    write_first_config(tmp_path / "data", env, "alice", ask=lambda *_: None)
    settings = Settings.load(tmp_path / "data", env=env)
    assert (settings.llm, settings.chat.context_max_tokens) == ("groq", 5000)
