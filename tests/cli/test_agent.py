"""``tom agent``: one person's agent by hand, alone or for a gateway elsewhere."""

import json
import socket
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def data(tmp_path, tom):
    directory = tmp_path / "data"
    assert tom("config", "init", "--data", str(directory), "--user", "ada").returncode == 0
    return directory


def get(port, path, headers=None):
    """Status and JSON of a GET; (0, {}) while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}
    except urllib.error.URLError:
        return 0, {}


async def test_alone_it_serves_whoever_sits_here(start, tmp_path, free_port, until):
    data = tmp_path / "alone"
    agent = start("agent", "--standalone", "--port", str(free_port), "--data", str(data))
    await until(lambda: get(free_port, "/health")[0] == 200, seconds=20, what="the agent answers")
    assert f"ws://localhost:{free_port}/ws/chat" in agent.text
    assert get(free_port, "/tasks")[0] == 200
    agent.process.terminate()
    assert agent.process.wait(30) == 0


async def test_alone_beyond_this_machine_it_asks_for_a_token(start, tom, tmp_path, free_port, until):
    data = tmp_path / "alone"
    agent = start("agent", "--standalone", "--host", "0.0.0.0", "--port", str(free_port), "--data", str(data))
    await until(lambda: get(free_port, "/health")[0] == 200, seconds=20, what="the agent answers")
    assert "whoever shows a token" in agent.text
    assert get(free_port, "/sessions")[0] == 401
    made = json.loads(tom("token", "create", "a script", "--scope", "read", "--data", str(data), "--json").stdout)
    mine = {"Authorization": f"Bearer {made['token']}"}
    assert get(free_port, "/sessions", mine)[0] == 200
    assert tom("token", "revoke", made["id"], "--data", str(data)).returncode == 0
    assert get(free_port, "/sessions", mine)[0] == 401


async def test_for_a_gateway_it_answers_only_to_its_own_secret(start, data, free_port, until):
    agent = start("agent", "--port", str(free_port), "--data", str(data), env={"TOM_USERNAME": "ada"})
    await until(lambda: get(free_port, "/health")[0] == 200, seconds=20, what="the agent answers")
    secret = (data / "users" / "ada" / "agent.secret").read_text()
    assert get(free_port, "/health") == (200, {"status": "ok"})
    assert get(free_port, "/tasks")[0] == 401
    mine = {"X-Tom-User": "ada", "X-Tom-Agent-Secret": secret, "X-Tom-Door": "cookie"}
    assert get(free_port, "/tasks", mine)[0] == 200
    assert get(free_port, "/tasks", mine | {"X-Tom-User": "bob"})[0] == 401
    assert get(free_port, "/tasks", mine | {"X-Tom-Agent-Secret": secret[::-1]})[0] == 401
    agent.process.terminate()
    assert agent.process.wait(30) == 0


async def test_a_second_agent_of_a_person_is_refused(start, tom, data, free_port, until):
    start("agent", "--user", "ada", "--port", str(free_port), "--data", str(data))
    await until(lambda: get(free_port, "/health")[0] == 200, seconds=20, what="the agent answers")
    second = tom("agent", "--user", "ada", "--port", "0", "--data", str(data))
    assert second.returncode == 1
    assert "❌ Another agent already serves 'ada'" in second.stderr
    assert "Traceback" not in second.stderr


async def test_a_unix_socket_is_for_its_owner(start, data, tmp_path, until):
    place = tmp_path / "run" / "ada.sock"
    start("agent", "--user", "ada", "--socket", str(place), "--data", str(data))
    await until(place.exists, seconds=20)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700


async def test_bad_starts_are_named(tom, data, free_port):
    nobody = tom("agent", "--data", str(data))
    assert (nobody.returncode, nobody.stderr.splitlines()[0]) == (1, "❌ TOM_USERNAME is not set")
    unknown = tom("agent", "--user", "bob", "--data", str(data))
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (1, "❌ User 'bob' is not configured")
    with socket.create_server(("127.0.0.1", free_port)):
        taken = tom("agent", "--user", "ada", "--port", str(free_port), "--data", str(data))
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"❌ Port {free_port} is already in use")
