"""The command line's way in, and what a changed configuration does to people who are inside."""

import asyncio
import json
import os

import pytest
from websockets.exceptions import ConnectionClosed

from tom.gateway.agentlink import NotReachable
from tom.gateway.controlclient import ask_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def rewrite(door, change):
    path = door.data / "config.yml"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


async def close_code(socket):
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    return socket.close_code


async def test_the_socket_is_for_its_owner_only_and_tells_how_the_gateway_is(door):
    path = door.data / "gateway" / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    status, health = await ask_gateway(door.data, "GET", "/health")
    assert status == 200
    assert health["ready"] is True
    assert health["addresses"] == [f"https://127.0.0.1:{door.port}"]
    assert len(health["fingerprint"]) == 95
    await (await door.person("alice")).get("/tasks")
    assert (await ask_gateway(door.data, "GET", "/agents"))[1]["agents"][0]["user"] == "alice"
    _, users = await ask_gateway(door.data, "GET", "/users")
    assert users["users"][0] == {"user": "alice", "role": "user", "disabled": False, "logins": 1}


async def test_a_new_password_is_in_force_at_once_and_ends_logins(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        status, _ = await ask_gateway(door.data, "POST", "/users/alice/password", {"password": "another one, longer"})
        assert status == 200
        assert await close_code(socket) == 4401
    async with door.stranger(Cookie=f"__Host-tom={cookie}").get("/tasks") as answer:
        assert answer.status == 401
    assert await door.log_in("alice", "another one, longer")


async def test_what_cannot_be_done_is_said(door):
    for path, body, code in [
        ("/users/nobody/password", {"password": "x"}, "unknown_user"),
        ("/users/alice/password", {"password": ""}, "invalid_password"),
        ("/users/alice/password", {}, "invalid_json"),
        ("/nowhere", None, "not_found"),
    ]:
        status, answer = await ask_gateway(door.data, "POST", path, body)
        assert status >= 400
        assert answer["code"] == code


async def test_without_a_gateway_nobody_answers(tmp_path):
    with pytest.raises(NotReachable):
        await ask_gateway(tmp_path, "GET", "/health")


async def test_a_data_directory_may_lie_deep(opened, tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True, mode=0o700)
    async with opened(data=deep) as door:
        assert (await ask_gateway(deep, "GET", "/health"))[0] == 200
        async with (await door.person("alice")).get("/tasks") as answer:
            assert answer.status == 200
        async with door.socket(await door.log_in("alice")) as socket:
            await socket.send("deep")
            assert await socket.recv() == "alice: deep"


@pytest.mark.promise("P18")
@pytest.mark.parametrize("change", ["removed", "disabled", "role", "password"])
async def test_a_user_who_is_changed_in_the_file_is_logged_out(door, change, until):
    cookie, other = await door.log_in("alice"), await door.log_in("bob")

    def edit(config):
        alice = config["users"][0]
        match change:
            case "removed":
                config["users"].remove(alice)
            case "disabled":
                alice["disabled"] = True
            case "role":
                alice["role"] = "admin"
            case "password":
                alice["password"] = "a new one for alice"

    rewrite(door, edit)
    async with door.socket(cookie) as socket, door.socket(other) as still_open:
        assert (await ask_gateway(door.data, "POST", "/reload"))[0] == 200
        assert await close_code(socket) == 4401
        await still_open.send("hi")
        assert await still_open.recv() == "bob: hi"
    async with door.stranger(Cookie=f"__Host-tom={cookie}").get("/tasks") as answer:
        assert answer.status == 401
    if change in {"removed", "disabled"}:
        await until(lambda: door.agents.stops == ["alice"])
        async with door.stranger().post(
            "/login", json={"username": "alice", "password": "correct horse battery"}
        ) as answer:
            assert (answer.status, (await answer.json())["message"]) == (401, "Invalid credentials")
    elif change == "password":
        assert await door.log_in("alice", "a new one for alice")
    else:
        assert await door.log_in("alice")


async def test_a_configuration_with_errors_is_not_put_in_force(door):
    cookie = await door.log_in("alice")
    rewrite(door, lambda config: config.update(nonsense=1))
    status, answer = await ask_gateway(door.data, "POST", "/reload")
    assert status >= 400
    assert "nonsense" in answer["message"]
    async with door.stranger(Cookie=f"__Host-tom={cookie}").get("/tasks") as again:
        assert again.status == 200


async def test_logins_survive_a_restart_and_an_unchanged_file(opened):
    async with opened() as door:
        cookie = await door.log_in("alice")
    async with opened() as door:
        await asyncio.sleep(0)
        async with door.stranger(Cookie=f"__Host-tom={cookie}").get("/tasks") as answer:
            assert answer.status == 200


async def test_logins_can_lie_in_a_directory_of_their_own(opened, tmp_path):
    where = tmp_path / "sessions"
    async with opened(**{"global": {"sessions": str(where)}}) as door:
        cookie = await door.log_in("alice")
        assert (where / "logins.db").stat().st_mode & 0o077 == 0
        assert where.stat().st_mode & 0o777 == 0o700
    async with (
        opened(**{"global": {"sessions": str(where)}}) as door,
        door.stranger(Cookie=f"__Host-tom={cookie}").get("/tasks") as answer,
    ):
        assert answer.status == 200


async def test_a_taken_port_is_said_in_one_sentence(opened, free_port):
    import socket

    from tom.gateway.refusals import StartRefused

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises((StartRefused, ExceptionGroup)) as refused:
            async with opened():
                pass
    error = refused.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert error.messages == [f"❌ Port {free_port} is already in use"]


@pytest.mark.parametrize("names", [["alice"], ["alice", "bob"]])
async def test_with_several_users_the_missing_wall_is_said_once(opened, capfd, names):
    async with opened(users=[{"username": name, "password": "correct horse battery"} for name in names]):
        pass
    said = f"not walled off by the operating system yet: all run as uid {os.getuid()}"
    assert capfd.readouterr().err.count(said) == len(names) - 1


async def asked(door, user, errand):
    return await ask_gateway(door.data, "POST", f"/agents/{user}/request", errand)


async def test_the_operator_may_ask_an_agent_which_is_started_for_it(door):
    status, answer = await asked(door, "alice", {"method": "POST", "path": "/reset?a=%20b", "body": {"one": [1]}})
    assert status == 200
    assert answer["status"] == 200
    told = answer["body"]
    assert (told["user"], told["method"], told["path"], told["query"]) == ("alice", "POST", "/reset", "a=%20b")
    assert json.loads(told["body"]) == {"one": [1]}
    headers = dict(told["headers"])
    assert headers["x-tom-door"] == "control"
    assert headers["x-tom-user"] == "alice"
    assert headers["x-tom-agent-secret"] == door.agents.by_user["alice"].secret
    assert door.agents.starts == ["alice"]
    assert (await asked(door, "alice", {"method": "GET", "path": "/nowhere"}))[1] == {
        "status": 404,
        "body": "Not Found",
    }


async def test_an_errand_that_cannot_be_run_is_said(opened):
    people = [{"username": "alice", "password": "correct horse battery"}]
    gone = {"username": "carol", "password": "correct horse battery", "disabled": True}
    async with opened(users=[*people, gone]) as door:
        fine = {"method": "GET", "path": "/tasks"}
        for user, errand, code in [
            ("nobody", fine, "unknown_user"),
            ("carol", fine, "user_disabled"),
            ("alice", {"method": "TRACE", "path": "/tasks"}, "invalid_json"),
            ("alice", {"method": "GET", "path": "tasks"}, "invalid_json"),
            ("alice", {"method": "GET", "path": "/tasks HTTP/1.1\r\nx: y"}, "invalid_json"),
            ("alice", {**fine, "headers": {}}, "invalid_json"),
        ]:
            status, answer = await asked(door, user, errand)
            assert status >= 400
            assert answer["code"] == code
        assert door.agents.starts == []
        door.agents.failing = 1
        status, answer = await asked(door, "alice", fine)
        assert (status, answer["code"]) == (503, "agent_unavailable")
