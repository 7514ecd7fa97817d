"""Who says a setting, and whom that overrules; nothing secret is seen."""

import pytest

from tom.config.explain import Place, effective, find
from tom.config.settings import ConfigInvalid
from tom.config.variables import VARIABLES
from tom.telemetry.redaction import redact

CONFIG = """\
global:
  llm: scripted
  log_level: DEBUG
users:
  - username: alice
    password: canary-password
services:
  notes:
    url: http://notes.example/mcp?key=canary-query
    headers: {Authorization: Bearer canary-header}
  files:
    command: serve
    args: [--root, /srv, --api-key, canary-6, --token=canary-7, TOKEN=canary-8, --quiet]
rate_rps: 3
admin_token: canary-0123456789
"""


@pytest.fixture
def explained(tmp_path, monkeypatch):
    """``explained(key, env, dotenv=…, chat=…, alone=…)``: what is said of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.yml").write_text(CONFIG)

    def one(key, env=None, *, dotenv="", chat="", **named):
        (tmp_path / ".env").write_text(dotenv)
        (tmp_path / "app.config.yaml").write_text(chat)
        return find(effective(tmp_path / "data", env=env or {}, redact=redact, **named), key)

    return one


def test_a_value_is_told_with_the_line_that_says_it(explained, tmp_path):
    (found,) = explained("rate_rps")
    assert (found.value, found.source, found.overruled) == (3, f"{tmp_path}/data/config.yml:14", ())
    (found,) = explained("services.notes.headers.Authorization")
    assert found.source == f"{tmp_path}/data/config.yml:10"
    (found,) = explained("memory_max", chat="# one\nmemory_max: 20\n")
    assert (found.value, found.source) == (20, f"{tmp_path}/app.config.yaml:2")


def test_nobody_says_a_default(explained):
    (found,) = explained("rate_burst")
    assert (found.value, found.source, found.variables) == (5, "default", ("RATE_BURST",))


def test_whom_a_variable_overrules_is_told_in_order(explained, tmp_path):
    (found,) = explained("RATE_RPS", {"RATE_RPS": "7"}, dotenv="RATE_RPS=5\n")
    assert (found.value, found.source) == (7, "environment (RATE_RPS)")
    assert found.overruled == (
        Place(f"{tmp_path}/.env (RATE_RPS)", "5"),
        Place(f"{tmp_path}/data/config.yml:14", 3),
    )


def test_of_several_variables_the_one_that_wins_is_named(explained):
    env = {"LOG_LEVEL": "error", "TOM_LOG_LEVEL": "warning", "TOM_GLOBAL__LOG_LEVEL": "INFO"}
    (found,) = explained("global.log_level", env)
    assert (found.value, found.source) == ("INFO", "environment (TOM_GLOBAL__LOG_LEVEL)")
    del env["TOM_GLOBAL__LOG_LEVEL"]
    (found,) = explained("global.log_level", env)
    assert (found.value, found.source) == ("WARNING", "environment (TOM_LOG_LEVEL)")


def test_a_setting_with_two_names_is_told_with_the_one_that_says_it(explained, tmp_path):
    (found,) = explained("global.llm", {"DEFAULT_PROVIDER": "groq", "GROQ_API_KEY": "k"})
    assert (found.value, found.source) == ("groq", "environment (DEFAULT_PROVIDER)")
    assert found.overruled == (Place(f"{tmp_path}/data/config.yml:2", "scripted"),)
    (found,) = explained("initial_system_prompt", {"MCP_AGENT_INSTRUCTION": "Be kind."})
    assert (found.value, found.source) == ("Be kind.", "environment (MCP_AGENT_INSTRUCTION)")


def test_a_section_a_key_or_a_variable_can_be_asked_for(explained):
    assert [entry.key for entry in explained("login")] == ["login.idle_days", "login.max_days"]
    assert [entry.key for entry in explained("TOM_LOGIN__IDLE_DAYS")] == ["login.idle_days"]
    assert [entry.key for entry in explained("trusted_proxies")] == ["global.trusted_proxies"]
    assert explained("logn") == ()


def test_every_documented_variable_has_its_setting(explained):
    for variable in VARIABLES:
        if variable.read is not None:
            assert explained(variable.name), variable.name


def test_what_depends_on_who_listens_is_told_as_it_holds(explained):
    assert explained("chat.auth", alone=True)[0].value == "local"
    assert explained("chat.auth", alone=True, host="0.0.0.0")[0].value == "token"


def test_no_secret_is_seen(explained):
    env = {
        "HISTORY_MYSQL_PASSWORD": "canary-1",
        "REDIS_URL": "redis://:canary-2@h",
        "TOM_USERS__0__PASSWORD": "canary-3",
        "TOM_SERVICES__NOTES__HEADERS__X": "canary-4",
    }
    everything = effective_of(explained, env, dotenv="REDIS_URL=redis://:canary-5@h\nADMIN_TOKEN=canary-9876543210\n")
    assert "canary" not in repr(everything)
    masked = {entry.key for entry in everything if entry.value == "***"}
    assert masked == {
        "admin_token", "redis_url", "history_mysql_password", "users[0].password",
        "services.notes.headers.Authorization", "services.notes.headers.x",
    }  # fmt: skip


def effective_of(explained, env, **named):
    return [entry for top in ("", *TOPS) for entry in explained(top or "global", env, **named)]


TOPS = ("users", "services", "admin_token", "redis_url", "history_mysql_password", "chat", "llm", "mcp", "policy")


def test_what_is_wrong_is_told_instead(explained):
    with pytest.raises(ConfigInvalid):
        explained("rate_rps", {"RATE_BURST": "0"})


def test_the_arguments_of_a_program_are_shown_without_its_keys(explained):
    (found,) = explained("services.files.args")
    assert found.value == ["--root", "/srv", "--api-key", "***", "--token=***", "TOKEN=***", "--quiet"]


ELSEWHERE = """\
mcpServers:
  far:
    enabled: false
    url: https://bob:canary-9@far.example/mcp?key=canary-9a
  near:
    command: serve
    args: [-H, "Authorization: Bearer canary-9b", "postgres://u:canary-9c@h/db", "u:canary-9d@h:5432", sk-canary9e9e9e, "host:80"]
"""


def test_addresses_and_arguments_are_shown_without_who_logs_in(explained):
    said = [*explained("services", chat=ELSEWHERE), *explained("mcpServers", chat=ELSEWHERE)]
    assert "canary" not in str([one for one in said if "far" in one.key or "near" in one.key])
    values = {one.key.partition(".")[2]: one.value for one in said}
    assert values["far.url"] == "https://far.example/mcp?***"
    assert values["near.args"][2:4] + values["near.args"][-1:] == ["postgres://h/db", "***@h:5432", "host:80"]
