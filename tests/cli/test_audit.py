"""``tom audit``: the record of a house and of an agent alone, running or not, and what tampering looks like."""

import json
import signal
import urllib.request

import apsw
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P21")]

TOKEN = "an-admin-token-of-my-own"


@pytest.fixture
def data(tmp_path, tom):
    directory = tmp_path / "data"
    assert tom("config", "init", "--data", str(directory), "--user", "ada").returncode == 0
    return directory


def tampered(path, *statements):
    connection = apsw.Connection(str(path))
    for trigger in [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]:
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_the_record_of_a_house_is_shown_and_checked_running_or_not(tom, start, data, free_port, until):
    place = ("--data", str(data))
    assert tom("audit", "verify", *place).returncode in {0, 5}
    assert tom("user", "add", "bob", *place).returncode == 0
    assert tom("token", "create", "x", "--user", "bob", "--scope", "chat", *place).returncode == 0
    house = start("up", *place, "--port", str(free_port))
    await until(house.said("nothing is lost"), seconds=20, what="the house has started")
    assert tom("user", "passwd", "ada", *place).returncode == 0
    for running in (True, False):
        shown = json.loads(tom("audit", "show", "--json", *place).stdout)["entries"]
        kinds = [(row["kind"], row["who"], row["source"]) for row in shown]
        assert ("password.set", "operator", "command line") in kinds
        assert ("token.created", "operator", "command line") in kinds
        assert ("password.set", "operator", "control") in kinds
        checked = tom("audit", "verify", "--json", *place)
        told = json.loads(checked.stdout)
        assert (checked.returncode, told["ok"], told["count"]) == (0, True, len(shown))
        table = tom("audit", "show", "--limit", "1", *place).stdout.splitlines()
        assert len(table) == 2
        assert json.loads(tom("audit", "show", "--after", "1", "--json", *place).stdout)["entries"] == shown[1:]
        if running:
            house.process.send_signal(signal.SIGTERM)
            house.process.wait(30)
    tampered(data / "gateway" / "gateway.db", "UPDATE audit SET who = 'eve' WHERE number = 2")
    checked = tom("audit", "verify", *place)
    assert checked.returncode == 1
    assert "row 2 was changed" in checked.stdout
    told = json.loads(tom("audit", "verify", "--json", *place).stdout)
    assert (told["ok"], told["first_bad"], told["count"]) == (False, 2, 1)


async def test_an_agent_alone_has_a_record_of_its_own(tom, start, tmp_path, free_port, until):
    place = ("--data", str(tmp_path / "alone"))
    agent = start(
        "agent", "--standalone", "--port", str(free_port), *place, env={"ADMIN_TOKEN": TOKEN, "TOM_SUPERVISED": "1"}
    )
    await until(agent.said("answers on"), seconds=20, what="the agent has started")

    def ask(method, path, token=TOKEN, body=None):
        headers = {"X-Admin-Token": token} | ({"Content-Type": "application/json"} if body else {})
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://localhost:{free_port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    await until(lambda: agent.process.poll() is None and _open(ask), seconds=20, what="it answers")
    assert ask("GET", "/admin/runtime", token="wrong")[0] == 401
    assert ask("POST", "/admin/bypass", body={"ip": "10.0.0.1"}) == (201, {"ip": "10.0.0.1"})
    settings = ask("GET", "/admin/config")[1]
    assert settings["admin_token"] == {"value": "***", "source": "environment (ADMIN_TOKEN)"}
    assert json.loads(tom("audit", "verify", "--json", *place).stdout)["ok"]
    assert ask("POST", "/admin/restart")[0] == 202
    assert agent.process.wait(30) == 75  # its supervisor is to start it again
    shown = json.loads(tom("audit", "show", "--json", *place).stdout)["entries"]
    assert [row["kind"] for row in shown] == ["admin.refused", "bypass.added", "restart"]
    file = tmp_path / "alone" / "users" / "local" / "door.db"
    tampered(file, "DELETE FROM audit WHERE number = 3")
    checked = tom("audit", "verify", *place)
    assert checked.returncode == 1
    assert "row 3 is missing" in checked.stdout


def _open(ask):
    try:
        return ask("GET", "/health")[0] == 200
    except OSError:
        return False


def test_where_there_is_no_record_it_says_what_to_do(tom, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = tom("audit", "verify", "--data", str(tmp_path / "empty"))
    assert ended.returncode == 5
    assert "tom up" in ended.stderr
