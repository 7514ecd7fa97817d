"""`tom config` as people and scripts see it."""

import json

import pytest
from typer.testing import CliRunner

from tom.cli.config import app
from tom.cli.output import Refused


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--data", str(tmp_path / "data")])


def test_the_first_config_is_written_once_and_valid(run):
    first = run("init", "--user", "alice")
    assert (first.exit_code, "admin alice" in first.stdout) == (0, True)
    second = run("init", "--user", "bob")
    assert second.exit_code == 1
    assert "is there already; nothing was changed" in second.stderr
    checked = run("check")
    assert (checked.exit_code, checked.stdout) == (0, "✅ The configuration is valid\n")


def test_all_errors_are_printed_on_stderr(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.yml").write_text("logn: {}\nspawner: {max_agents: 0}\n")
    checked = run("check")
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert checked.stderr.splitlines() == [
        "config: config.yml: spawner.max_agents must be at least 1",
        "config: config.yml: logn: unknown key, did you mean 'login'?",
    ]


def test_a_script_gets_one_json_object(run):
    assert json.loads(run("check", "--json").stdout)["ok"] is False
    run("init", "--user", "alice")
    answer = json.loads(run("check", "--json").stdout)
    assert answer == {"ok": True, "errors": [], "warnings": [], "notes": []}


def test_a_key_is_adopted(run, monkeypatch):
    run("init", "--user", "alice")
    assert run("adopt", "hal").exit_code == 1
    monkeypatch.setenv("OPENROUTER_KEY", "sk-or-canary-123456")
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:9/v1")
    adopted = run("adopt", "openrouter")
    assert adopted.exit_code == 0
    assert "openrouter/openrouter/auto" in adopted.stdout
    assert "✅ Configured LLM 'openrouter'" in run("check").stdout


def test_the_model_that_is_named_is_the_one_that_is_used(run, tmp_path, monkeypatch):
    run("init", "--user", "alice")
    monkeypatch.setenv("OPENROUTER_KEY", "sk-or-canary-123456")
    assert run("adopt", "openrouter").exit_code == 0
    monkeypatch.setenv("MCP_AGENT_MODEL", "vendor/other")
    (line,) = [line for line in run("check").stdout.splitlines() if "Configured LLM" in line]
    assert line.endswith(str(["openrouter/vendor/other"] * 3))


def test_a_setting_is_explained(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.yml").write_text("rate_rps: 3\nadmin_token: canary-0123456789\n")
    (tmp_path / ".env").write_text("RATE_RPS=4\n")
    answer = run("explain", "rate_rps")
    assert (answer.exit_code, answer.stdout.splitlines()) == (
        0,
        [
            "rate_rps = 4.0",
            f"  said by: {tmp_path}/.env (RATE_RPS)",
            f"  overrules: {tmp_path}/data/config.yml:1, which says 3.0",
            "  a variable can say it: RATE_RPS",
        ],
    )
    assert run("explain", "--set").stdout.splitlines() == [
        f"admin_token = ***  ({tmp_path}/data/config.yml:2)",
        f"rate_rps = 4.0  ({tmp_path}/.env (RATE_RPS); overrules {tmp_path}/data/config.yml:1)",
    ]
    assert "canary" not in run("explain").stdout


def test_a_script_gets_an_explanation_as_json(run):
    (found,) = json.loads(run("explain", "MEMORY_MAX", "--json").stdout)
    assert found == {
        "key": "memory_max",
        "value": 50,
        "source": "default",
        "secret": False,
        "variables": ["MEMORY_MAX"],
        "overrules": [],
    }


def test_a_setting_that_is_not_there_is_not_explained(run):
    refused = run("explain", "memory_mx")
    assert refused.exit_code != 0
    assert isinstance(refused.exception, Refused)
    assert refused.exception.hint == "did you mean: tom config explain memory_max"


def test_an_example_is_one_or_the_other(run):
    from tom.config.examples import env_example, yaml_example

    invoke = CliRunner().invoke
    assert invoke(app, ["example", "--env"]).stdout == env_example()
    assert invoke(app, ["example", "--yaml"]).stdout == yaml_example()
    assert isinstance(invoke(app, ["example"]).exception, Refused)


def test_an_agent_alone_is_checked_without_config_yml(run, tmp_path):
    (tmp_path / "app.config.yaml").write_text("llm: {active: groq, providers: {groq: {model: m}}}\n")
    checked = run("check", "--standalone")
    assert checked.exit_code == 0
    assert "API key 'GROQ_API_KEY' not found in environment variables for provider 'groq'" in checked.stdout
