"""Every route declares who may use it, and keeps to it."""

import subprocess
import sys

import pytest

from tom.gateway.headers import outwards
from tom.gateway.table import Access

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OPEN = {
    ("GET", "/auth"), ("POST", "/auth"), ("GET", "/login"), ("POST", "/login"), ("GET", "/logout"), ("POST", "/logout"),
    ("GET", "/health"), ("GET", "/health/ready"), ("GET", "/static/{path:path}"), ("GET", "/openapi.json"), ("GET", "/docs"),
}  # fmt: skip


@pytest.mark.promise("P10")
async def test_what_is_not_open_to_everybody_needs_a_login_in_force(door, read_cookie):
    alice = await door.person("alice")
    async with alice.post("/logout", json={}):
        ended = alice.cookie
    routes = door.gateway._parts.app._table.routes
    assert {(route.method, route.path) for route in routes if route.access is Access.OPEN} == OPEN
    assert len(routes) > len(OPEN)
    for route in routes:
        if route.access is Access.OPEN:
            continue
        path = route.path.replace("{id}", "x").replace("{request_id}", "x")
        for cookie in ("", "__Host-tom=" + "A" * 43, f"__Host-tom={ended}", f"tom_login={ended}"):
            headers = {"X-Tom-Client": "x", "X-Tom-User": "alice", **({"Cookie": cookie} if cookie else {})}
            async with door.stranger().request(route.method, path, headers=headers) as answer:
                wanted = 503 if route.access is Access.ADMIN else 401  # no admin token is set
                assert answer.status == wanted, (route, cookie)
    assert door.agents.starts == []


async def test_foreign_and_unknown_ids_are_the_agents_to_answer(door):
    for name in ("alice", "bob"):
        person = await door.person(name)
        for path in ("/sessions/of-bob", "/process/of-bob", "/sessions/..%2Fbob"):
            async with person.get(path) as answer:
                body = await answer.json()
                assert body.get("user", name) == name


def test_starting_imports_nothing_heavy():
    heavy = ["mcp", "openai", "aiohttp", "httpx2", "pydantic", "ruamel.yaml", "typer", "rich", "starlette", "nh3",
             "markdown_it", "fastapi", "anyio"]  # fmt: skip
    code = f"import sys; import tom.gateway.bootstrap; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


async def test_which_conversation_a_call_goes_on_with_is_a_clients_to_say(door):
    alice = await door.person("alice")
    for given, passed in (("c-1", "c-1"), ("a" * 129, None), ("a b", None), ("", None)):
        async with alice.get("/status", headers={"X-Tom-Conversation": given}) as answer:
            told = dict((await answer.json())["headers"])
        assert told.get("x-tom-conversation") == passed, given
    back = [(b"x-tom-conversation", b"c-1"), (b"x-tom-conversation", b"c 1"), (b"x-tom-user", b"bob")]
    assert outwards(back, 200)[:-1] == back[:1]
