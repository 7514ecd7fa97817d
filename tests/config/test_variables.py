"""Every documented variable: its default, what it may say, and the exact words in which the rest is refused."""

from pathlib import Path

import pytest

from tom.config.settings import ConfigInvalid, Settings, load_standalone
from tom.config.variables import PROMPT_CHARACTERS, VARIABLES
from tom.config.yamltext import parse_value

ROWS = parse_value((Path(__file__).parent / "cases/variables.yml").read_text(), name="variables")
TOKEN = "canary-0123456789"


@pytest.fixture
def say(tmp_path, monkeypatch):
    """``say(place, NAME=text)``: the settings when that is said there."""
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)

    def said(place="environment", *, alone=False, **texts):
        config = ["users: [{username: alice}]"]
        env = {}
        lines = [f"{name}='{text}'" for name, text in texts.items()]
        flat = [f"{name.lower()}: {_yaml(text)}" for name, text in texts.items()]
        match place:
            case "environment":
                env = texts
            case ".env":
                (here / ".env").write_text("\n".join(lines) + "\n")
            case "data/.env":
                (data / ".env").write_text("\n".join(lines) + "\n")
            case "config.yml":
                config += flat
            case _:
                (here / place).write_text("\n".join(flat) + "\n")
        (data / "config.yml").write_text("\n".join(config) + "\n")
        return load_standalone(env, data)[0] if alone else Settings.load(data, env=env)

    return said


def _yaml(text: str) -> str:
    return text if text.replace(".", "").replace("-", "").isdigit() else "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("place", ["environment", ".env", "data/.env", "config.yml", "app.config.yaml"])
@pytest.mark.parametrize("row", ROWS, ids=[f"{row['name']}={row['says'][:20]}" for row in ROWS])
def test_what_it_must_not_say_is_refused_in_the_documented_words(row, place, say):
    with pytest.raises(ConfigInvalid) as caught:
        say(place, **{row["name"]: row["says"]})
    assert caught.value.errors == [f"config: {place.removeprefix('data/')}: {row['sentence']}"]


def test_all_errors_are_told_at_once(say):
    with pytest.raises(ConfigInvalid) as caught:
        say(**{row["name"]: row["says"] for row in ROWS})
    named = {row["name"] for row in ROWS} - {"HISTORY_STORAGE_BACKEND", "MEMORY_DEFAULT"}
    told = "\n".join(caught.value.errors)
    assert [name for name in sorted(named) if name not in told and not name.startswith("MEMORY")] == [
        "MCP_AGENT_CONFIG",
        "MCP_AGENT_LLM",
    ]
    assert "Unsupported config format" in told
    assert "Memory limits" in told or "MEMORY_DEFAULT cannot" in told


def test_a_prompt_has_a_bound(say):
    assert say(INITIAL_SYSTEM_PROMPT="a" * PROMPT_CHARACTERS).doors.initial_prompt
    with pytest.raises(ConfigInvalid) as caught:
        say(INITIAL_SYSTEM_PROMPT="a" * (PROMPT_CHARACTERS + 1))
    assert caught.value.errors == ["config: environment: INITIAL_SYSTEM_PROMPT is too long."]


def test_the_defaults_are_those_of_the_table(say):
    settings = say()
    agent = settings.template
    assert (agent.app_name, settings.doors.initial_prompt) == ("chat-backend", "")
    assert (settings.doors.rates.rps, settings.doors.rates.burst) == (1.0, 5)
    assert (settings.doors.rates.read_rps, settings.doors.rates.read_burst) == (20, 60)
    assert (settings.doors.memory_default, settings.doors.memory_max) == (10, 50)
    assert (settings.doors.metrics, settings.doors.metrics_public, settings.log.level) == (True, False, "INFO")
    assert not settings.doors.admin_token
    assert not settings.doors.redis.url
    archive = agent.archive
    assert (archive.backend, archive.namespace, archive.retention) == ("none", "chat_history", "keep")


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_blank_value_is_none(say, blank):
    names = [variable.name for variable in VARIABLES if variable.read and not variable.name.startswith("TOM_")]
    blanks = dict.fromkeys(names, blank)
    assert say(**blanks).doors == say().doors
    assert say("app.config.yaml", **blanks).doors == say().doors


@pytest.mark.parametrize(
    ("text", "truth"),
    [("true", True), ("YES", True), ("on", True), ("1", True), ("False", False), ("no", False), ("off", False), ("0", False)],
)  # fmt: skip
@pytest.mark.parametrize("place", ["environment", "app.config.yaml"])
def test_truths_have_many_spellings(say, place, text, truth):
    assert say(place, METRICS_ENABLED=text).doors.metrics is truth


def test_the_agents_instruction_stands_in_for_the_initial_prompt(say):
    both = {"INITIAL_SYSTEM_PROMPT": "one", "MCP_AGENT_INSTRUCTION": "two"}
    assert say(INITIAL_SYSTEM_PROMPT="one").doors.initial_prompt == "one"
    assert say(**both).doors.initial_prompt == "two"


def test_values_reach_the_agent_and_the_gateway(say):
    settings = say(
        RATE_RPS="2.5", RATE_BURST="9", MEMORY_DEFAULT="3", MEMORY_MAX="7", ADMIN_TOKEN=TOKEN, METRICS_ENABLED="no",
        REDIS_URL="rediss://:canary@h/1", MCP_AGENT_APP_NAME="shop", TRUSTED_PROXIES="10.0.0.0/8", TOM_SUPERVISED="yes",
    )  # fmt: skip
    doors = settings.doors
    assert settings.template.doors == doors
    assert (doors.rates.rps, doors.rates.burst, doors.memory_default, doors.memory_max) == (2.5, 9, 3, 7)
    assert (doors.admin_token.reveal(), doors.redis.url.reveal()) == (TOKEN, "rediss://:canary@h/1")
    assert (doors.metrics, doors.trusted_proxies, doors.supervised) == (False, ("10.0.0.0/8",), True)
    assert settings.template.app_name == "shop"
    assert "canary" not in repr(settings)


def test_the_other_names_of_keys_are_accepted(say, tmp_path):
    flat = "default_provider_name: mcp-agent\nmcp_agent_llm_provider: openrouter\nopenrouter_default_model: m/1\nopenrouter_key: canary-1\n"
    (tmp_path / "here/app.config.yaml").write_text(flat)
    settings = say()
    assert (settings.llm, settings.llms["openrouter"].models) == ("openrouter", ("m/1", "m/1", "m/1"))
    assert settings.llms["openrouter"].key.reveal() == "canary-1"
    (tmp_path / "here/app.config.yaml").write_text(flat + "mcp_agent_default_model: m/2\n")
    assert say().llms["openrouter"].models == ("m/2", "m/2", "m/2")


# --- archives ----------------------------------------------------------------------------------------------------


def archive(say, **texts):
    return say(**{f"HISTORY_{name}": text for name, text in texts.items()}).template.archive


def test_an_archive_is_told_what_it_needs(say):
    found = archive(say, STORAGE_BACKEND="MySQL", MYSQL_USER="{user}", MYSQL_PASSWORD=" p ", MYSQL_DATABASE="d")
    assert (found.backend, found.host, found.port, found.user) == ("mysql", "localhost", 3306, "{user}")
    assert (found.password.reveal(), found.sessions, found.messages) == (" p ", "chat_sessions", "chat_messages")
    found = archive(say, STORAGE_BACKEND="mongodb", NAMESPACE="n-1")
    assert (found.uri.reveal(), found.database) == ("mongodb://localhost:27017", "chat_history")
    found = archive(say, STORAGE_BACKEND="redis", REDIS_URL="redis://:canary@h/2")
    assert found.uri.reveal() == "redis://:canary@h/2"


def test_the_redis_of_sessions_serves_as_archive(say):
    texts = {"HISTORY_STORAGE_BACKEND": "redis", "REDIS_URL": "unix:///run/r.sock"}
    assert say(**texts).template.archive.uri.reveal() == "unix:///run/r.sock"


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({"STORAGE_BACKEND": "mysql", "MYSQL_HOST": "", "MYSQL_USER": "u"}, "MySQL history storage requires the following settings: HISTORY_MYSQL_HOST, HISTORY_MYSQL_DATABASE"),
        ({"STORAGE_BACKEND": "mongodb", "MONGODB_URI": ""}, "MongoDB history storage requires HISTORY_MONGODB_URI to be set."),
        ({"STORAGE_BACKEND": "mongodb", "MONGODB_DATABASE": " "}, "MongoDB history storage requires HISTORY_MONGODB_DATABASE to be set."),
        ({"STORAGE_BACKEND": "mongodb", "MONGODB_URI": "http://h"}, "HISTORY_MONGODB_URI must be a mongodb or mongodb+srv URL."),
        ({"STORAGE_BACKEND": "redis", "REDIS_URL": "h:1"}, "HISTORY_REDIS_URL must be a redis, rediss or unix URL."),
        ({"STORAGE_BACKEND": "mysql", "MYSQL_USER": "u", "MYSQL_DATABASE": "d", "MYSQL_MESSAGE_TABLE": "chat_sessions"}, "HISTORY_MYSQL_SESSION_TABLE and HISTORY_MYSQL_MESSAGE_TABLE must be different."),
    ],
)  # fmt: skip
def test_an_archive_that_lacks_something_is_refused(say, texts, sentence):
    with pytest.raises(ConfigInvalid) as caught:
        archive(say, **texts)
    assert caught.value.errors == [f"config: environment: {sentence}"]


# --- who is calling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "auth"), [("127.0.0.1", "local"), ("::1", "local"), ("localhost", "local"), ("0.0.0.0", "token"), ("tom.example", "token")])  # fmt: skip
def test_an_agent_alone_asks_for_a_token_where_others_reach_it(tmp_path, host, auth):
    assert load_standalone({}, tmp_path, host=host)[0].doors.auth == auth


@pytest.mark.parametrize(("auth", "host", "warned"), [("local", "0.0.0.0", True), ("local", "127.0.0.1", False), ("public", "127.0.0.1", True), ("token", "0.0.0.0", False)])  # fmt: skip
def test_what_is_written_wins_and_what_opens_is_warned_of(tmp_path, auth, host, warned):
    agent, lines = load_standalone({"CHAT_AUTH": auth}, tmp_path, host=host)
    assert agent.doors.auth == auth
    assert any("chat.auth" in line for line in lines) is warned


def test_behind_the_gateway_it_is_always_a_token(say):
    assert say(CHAT_AUTH="public").doors.auth == "token"


@pytest.mark.parametrize("token", ["change-me", "short"])
def test_a_token_anybody_could_guess_is_refused_where_others_reach_it(tmp_path, token):
    lines = load_standalone({"ADMIN_TOKEN": token}, tmp_path)[1]
    assert any(line.startswith("⚠️ ADMIN_TOKEN must have 16 characters") for line in lines)
    with pytest.raises(ConfigInvalid) as caught:
        load_standalone({"ADMIN_TOKEN": token}, tmp_path, host="192.0.2.1")
    (error,) = caught.value.errors
    assert error.startswith("config: environment: ADMIN_TOKEN must have 16 characters or more")
    assert token not in error
