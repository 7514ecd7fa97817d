"""Where settings come from, what wins, and which files are looked at."""

import os
from pathlib import Path

import pytest

from tom.config.secret import Secret
from tom.config.settings import ConfigInvalid, Settings, UserNotConfigured, data_directory, load_standalone, standalone


def refused(*arguments, **named):
    with pytest.raises(ConfigInvalid) as caught:
        Settings.load(*arguments, **named)
    return caught.value.errors


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path, env={}) == [f"❌ Configuration not found: {tmp_path}/config.yml"]


def test_another_file_is_named_by_argument_or_variable(tmp_path):
    (tmp_path / "one.yml").write_text("login: {idle_days: 2}")
    (tmp_path / "two.yml").write_text("login: {idle_days: 3}")
    env = {"TOM_CONFIG": str(tmp_path / "one.yml")}
    assert Settings.load(tmp_path, env=env).login.idle_days == 2
    assert Settings.load(tmp_path, tmp_path / "two.yml", env=env).login.idle_days == 3


def test_environment_beats_both_dotenv_files_and_these_the_file(write, tmp_path_factory, monkeypatch):
    data = write("login: {idle_days: 1, max_days: 100}\nspawner: {max_agents: 1}\nglobal: {proxy_timeout: 1}\n")
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    here.joinpath(".env").write_text("TOM_LOGIN__IDLE_DAYS=3\nTOM_SPAWNER__MAX_AGENTS=3\n")
    data.joinpath(".env").write_text("TOM_LOGIN__IDLE_DAYS=2\nTOM_SPAWNER__MAX_AGENTS=2\nTOM_GLOBAL__PROXY_TIMEOUT=2\n")
    settings = Settings.load(data, env={"TOM_LOGIN__IDLE_DAYS": "4"})
    assert (settings.login.idle_days, settings.spawner.max_agents, settings.proxy_timeout) == (4, 3, 2)
    assert settings.login.max_days == 100


def test_an_error_in_dotenv_is_called_so(write):
    data = write("", **{".env": "LOG_LEVEL=loud\n"})
    assert refused(data, env={}) == ["config: .env: LOG_LEVEL must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."]


def test_a_file_beyond_its_limit_is_not_parsed(write):
    data = write("# " + "x" * 1_048_576)
    assert refused(data, env={}) == ["❌ config.yml: larger than 1 MiB"]


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path):
    (tmp_path / "config.yml").write_bytes(b"global: {}\n\xff\xfe\n")
    assert refused(tmp_path, env={}) == ["❌ config.yml line 2, column 1: not UTF-8"]


def nested(depth):
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, depth + 1)]
    return "\n".join(lines)


def test_aliases_nest_ten_deep_and_no_deeper(write):
    # Ten pass the reader (the keys are unknown all the same), eleven do not.
    assert all("unknown key" in error for error in refused(write(nested(10)), env={}))
    assert refused(write(nested(11)), env={}) == ["❌ config.yml line 11, column 6: aliases nested deeper than 10"]


def test_a_bomb_of_aliases_is_stopped_before_it_is_spread(write):
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    )
    assert "more than 100000 values" in refused(write(bomb), env={})[0]


def test_endless_nesting_is_refused(write):
    assert refused(write("global: " + "[" * 20_000), env={}) == ["❌ config.yml: nested too deeply"]


def test_the_directory_of_logins_must_be_private(write, tmp_path):
    data = write("global: {sessions: logins}")
    assert Settings.load(data, env={}).sessions == data / "logins"
    (data / "logins").mkdir(mode=0o755)
    (data / "logins").chmod(0o755)
    assert refused(data, env={}) == ["config: config.yml: global.sessions must have mode 0700"]
    (data / "logins").chmod(0o700)
    assert Settings.load(data, env={}).sessions == data / "logins"
    (data / "logins").rename(data / "elsewhere")
    (data / "logins").symlink_to(data / "elsewhere")
    assert refused(data, env={}) == ["config: config.yml: global.sessions must not be a symbolic link"]


def test_the_directory_of_logins_must_be_ones_own(write, tmp_path):
    # Root can give a directory away; anybody else has the system's at hand.
    foreign = tmp_path / "logins" if os.geteuid() == 0 else Path("/usr")
    data = write(f"global: {{sessions: {foreign}}}")
    if os.geteuid() == 0:
        foreign.mkdir(mode=0o700)
        os.chown(foreign, 12345, 12345)
    assert refused(data, env={}) == ["config: config.yml: global.sessions must belong to the user that runs Tom"]


def test_shared_files_are_told_when_they_are_there(write):
    data = write("users: [{username: alice}]")
    assert not Settings.load(data, env={}).agent("alice", Secret("")).all_datadir
    (data / "all").mkdir()
    assert Settings.load(data, env={}).agent("alice", Secret("")).all_datadir == str(data / "all")


@pytest.mark.promise("P10")
def test_an_agent_gets_nobody_elses_services_and_keys(write):
    data = write("""
global:
  llm: first
  llm_fallbacks: []
  llms:
    first: {api: key-of-first, models: openai/a}
    second: {api: key-of-second, models: groq/b}
    third: {api: key-of-third, models: mistral/c}
users:
  - {username: alice, services: {hers: {url: "http://h/mcp", llm: third}}}
  - {username: bob, llm: second, services: {his: {url: "http://h/mcp", headers: {X: bobs-key}}}}
""")
    settings = Settings.load(data, env={})
    alice, bob = settings.agent("alice", Secret("a")), settings.agent("bob", Secret("b"))
    assert set(alice.llms) == {"first", "third"}
    assert set(bob.llms) == {"second"}
    assert [service.name for service in alice.services] == ["hers"]
    assert [service.name for service in bob.services] == ["his"]


def test_an_agent_gets_the_keys_of_those_that_may_stand_in(write):
    data = write("""
global:
  llm: first
  llm_tts: third
  llm_fallbacks: [second]
  llms:
    first: {api: key-of-first, models: openai/a}
    second: {api: key-of-second, models: groq/b}
    third: {api: key-of-third, models: mistral/c}
    fourth: {api: key-of-fourth, models: gemini/d}
users: [{username: alice}]
""")
    assert set(Settings.load(data, env={}).agent("alice", Secret("a")).llms) == {"first", "second", "third"}


def test_a_user_that_is_not_there_has_no_slice(write):
    settings = Settings.load(write("users: [{username: alice}]"), env={})
    assert settings.user("ALICE") == settings.users[0]
    with pytest.raises(UserNotConfigured, match="User 'mallory' is not configured"):
        settings.agent("mallory", Secret(""))


def test_an_agent_alone_needs_no_file(tmp_path):
    agent = standalone({"GROQ_API_KEY": "k"}, tmp_path)
    assert (agent.user, agent.home, agent.llm) == ("local", tmp_path / "users/local", "groq")
    assert (agent.log.format, agent.persistence.path) == ("json", "history.db")
    agent, lines = load_standalone({}, tmp_path)
    assert (agent.llm, lines) == ("unconfigured", ("❌ No LLM is configured",))


def test_an_agent_alone_reads_the_file_that_is_there(write):
    data = write(
        "global: {llm: scripted, log_format: text}\nrepository: {path: events.db}\nservices: {time: {command: clock}}\n"
    )
    agent = standalone({}, data)
    assert (agent.llm, agent.log.format, agent.persistence.path) == ("scripted", "text", str(data / "events.db"))
    assert [service.name for service in agent.services] == ["time"]


def test_the_data_directory_is_given_named_or_beside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_directory({"TOM_DATA": "/named"}, tmp_path / "given") == tmp_path / "given"
    assert str(data_directory({"TOM_DATA": "/named"})) == "/named"
    assert data_directory({}) == tmp_path / "data"


def test_how_long_the_record_is_kept_open_reaches_whoever_keeps_it(write):
    assert Settings.load(write("login: {}\n"), env={}).doors.audit_days == 365.0
    settings = Settings.load(write("global: {audit_days: 30}\n"), env={})
    assert settings.doors.audit_days == settings.template.doors.audit_days == 30.0
