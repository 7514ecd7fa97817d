"""``tom doctor``: what is well is said to be well, and each thing that is broken is named with its cure."""

import json

import apsw
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def data(tmp_path, tom):
    directory = tmp_path / "data"
    assert tom("config", "init", "--data", str(directory), "--user", "ada").returncode == 0
    config = directory / "config.yml"
    config.write_text(config.read_text().split("\nservices:")[0] + "\n")
    return directory


@pytest.fixture
def examine(tom, data):
    """The findings as a script gets them: (check, verdict) -> what was seen and the cure."""

    def run():
        result = tom("doctor", "--json", "--data", str(data))
        report = json.loads(result.stdout)
        assert result.returncode == (0 if report["ok"] else 1)
        return [(one["check"], one["verdict"], one["seen"], one["cure"]) for one in report["checks"]]

    return run


def failed(findings):
    return [finding for finding in findings if finding[1] == "fail"]


async def test_a_sound_house_is_found_sound(start, data, free_port, until, tom):
    house = start("up", "--data", str(data), "--port", str(free_port))
    await until(house.said("nothing is lost"), seconds=20, what="the house has started")
    result = tom("doctor", "--data", str(data))
    assert result.returncode == 0, result.stdout
    assert "❌" not in result.stdout
    for said in ("agent awake after", f"serves https://127.0.0.1:{free_port}", "SQLite 3.", "scripted"):
        assert said in result.stdout
    assert "0 failed" in result.stdout


async def test_what_is_broken_is_named_with_its_cure(examine, data):
    config = data / "config.yml"
    config.write_text(
        config.read_text() + "  - username: bob\n    password: a password in clear\nservices:\n"
        "  dead:\n    url: http://127.0.0.1:9/mcp\n    timeout: 2\n"
    )
    data.chmod(0o755)
    home = data / "users" / "ada"
    home.mkdir(parents=True)
    (home / "history.db").write_bytes(b"this is no database" * 100)
    findings = examine()
    seen = {check: (text, cure) for check, verdict, text, cure in findings if verdict == "fail"}
    assert seen["data directory"][1] == f"run: chmod 700 {data}"
    assert "not found" in seen["certificate"][0]
    assert seen["database"][0].startswith("users/ada/history.db")
    assert seen["services"][0].startswith("dead:")
    assert ("passwords", "warn") in [finding[:2] for finding in findings]
    assert any(cure.endswith("tom user passwd bob") for *_, cure in findings)
    assert not any("a password in clear" in text for *_, text, cure in findings)


async def test_every_error_of_the_settings_is_a_finding(examine, data):
    (data / "config.yml").write_text("global:\n  log_levle: INFO\nusers:\n  - username: UPPER\n")
    texts = [seen for check, verdict, seen, _ in failed(examine()) if check == "settings"]
    assert any("log_levle" in text for text in texts)
    assert any("users[0].username" in text for text in texts)


async def test_a_hole_in_the_numbering_is_found(examine, data):
    home = data / "users" / "ada"
    home.mkdir(parents=True)
    connection = apsw.Connection(str(home / "history.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE chat_events (conversation_id TEXT, seq INTEGER)")
    connection.executemany(
        "INSERT INTO chat_events VALUES (?, ?)", [("whole", 1), ("whole", 2), ("holed", 1), ("holed", 3)]
    )
    connection.close()
    [(_, _, seen, _)] = [finding for finding in failed(examine()) if finding[0] == "database"]
    assert "1 conversations have holes" in seen


async def test_without_a_house_the_doctor_says_how_to_get_one(tom, tmp_path):
    result = tom("doctor", "--json", "--data", str(tmp_path / "nowhere"))
    assert result.returncode == 3
    assert "tom up" in json.loads(result.stdout)["error"]["hint"]


async def test_the_house_of_an_agent_alone_lacks_nothing(start, tom, tmp_path, free_port, until):
    data = tmp_path / "alone"
    agent = start("agent", "--standalone", "--port", str(free_port), "--data", str(data))
    await until(agent.said("answers on"), seconds=20, what="the agent serves")
    await until((data / "users" / "local" / "agent.sock").exists, seconds=20)

    def found():
        report = json.loads(tom("doctor", "--json", "--data", str(data)).stdout)
        assert not failed([(one["check"], one["verdict"]) for one in report["checks"]])
        return {one["check"]: one["seen"] for one in report["checks"]}

    seen = found()
    assert seen["agent alone"] == "it runs and is ready"
    assert not {"people", "certificate", "port"} & seen.keys()
    agent.process.terminate()
    assert agent.process.wait(30) == 0
    assert found()["agent alone"].startswith("it does not run")
    refused = tom("archive", "status", "--data", str(data))
    assert (refused.returncode, "tom agent --standalone" in refused.stderr) == (7, True)
