"""`tom config` as people and scripts see it."""

import json

import pytest
from typer.testing import CliRunner

from tom.cli.config import app


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
