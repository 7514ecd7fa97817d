"""API tokens at the gateway: who they let in, how far, and that they end at once."""

import asyncio
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tom.policy.permissions import Scope

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OPEN = {"X-Tom-Client": "test"}
FOREIGN = "https://elsewhere.example"
UNKNOWN = "tom_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43


async def make(person, *scopes, **more):
    body = {"name": "a script", "scopes": list(scopes or ("chat",)), **more}
    async with person.post("/tokens", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def told(session, method, path, **options):
    """Status, headers and body of one answer."""
    async with session.request(method, path, **options) as answer:
        return answer.status, answer.headers, await answer.read()


async def test_a_token_is_made_listed_used_and_taken_back(door):
    alice, bob = await door.person("alice"), await door.person("bob")
    made = await make(alice, "read", "chat")
    async with alice.get("/tokens") as answer:
        (row,) = (await answer.json())["tokens"]
    assert (row["id"], row["name"], row["scopes"], row["last_used_at"]) == (
        made["id"],
        "a script",
        ["chat", "read"],
        None,
    )
    assert row["expires_at"] > row["created_at"]
    assert made["token"] not in json.dumps(row)
    for headers in (bearer(made["token"]), {"X-API-Key": made["token"]}):
        assert (await told(door.stranger(**headers), "GET", "/status"))[0] == 200
    sent = dict(door.agents.by_user["alice"].seen[-1]["headers"])
    assert sent["x-tom-door"] == "token"
    assert sent["x-tom-scopes"] == "chat read"
    assert sent["x-tom-key"].startswith("api_key:")
    assert sent["x-tom-address"] == "127.0.0.1"
    assert not {"authorization", "x-api-key"} & set(sent)
    assert (await told(bob, "GET", "/tokens"))[2] == b'{"tokens":[]}'
    assert (await told(bob, "DELETE", f"/tokens/{made['id']}"))[0] == 404
    status, _, body = await told(alice, "DELETE", f"/tokens/{made['id']}")
    assert (status, body) == (204, b"")
    assert (await told(door.stranger(**bearer(made["token"])), "GET", "/status"))[0] == 401


async def test_what_is_unknown_revoked_expired_or_malformed_is_answered_alike(door):
    alice = await door.person("alice")
    revoked, expired = await make(alice), await make(alice)
    await told(alice, "DELETE", f"/tokens/{revoked['id']}")
    accounts = door.gateway._parts.accounts
    accounts.find_token(expired["token"]).expires = 0.0
    for path in ("/sessions/x", "/status", "/v1/models"):
        answers = []
        for token in (UNKNOWN, revoked["token"], expired["token"], "nonsense", "tom_"):
            headers = {**bearer(token), "X-Request-ID": "same", "Cookie": f"__Host-tom={alice.cookie}"}
            status, got, body = await told(door.stranger(**headers), "GET", path)
            kept = {name: value for name, value in got.items() if name != "Date"}
            answers.append((status, sorted(kept.items()), body))
            assert got["WWW-Authenticate"] == "Bearer"
        assert answers == [answers[0]] * len(answers)
        assert answers[0][0] == 401
    assert b'"code":"invalid_token"' in (await told(door.stranger(**bearer(UNKNOWN)), "GET", "/sessions/x"))[2]
    assert door.agents.starts == []


@pytest.mark.parametrize("path", ["/status", "/sessions", "/openapi.json", "/tokens"])
async def test_two_credentials_that_differ_are_none(door, path):
    alice = await door.person("alice")
    one, two = await make(alice, "read"), await make(alice, "read")
    headers = {**bearer(one["token"]), "X-API-Key": two["token"], "Cookie": f"__Host-tom={alice.cookie}"}
    status, _, body = await told(door.stranger(**headers), "GET", path)
    if path == "/openapi.json":
        assert status == 200, "nobody is asked there"
        return
    assert status == 401
    assert b"conflicting_credentials" in body or b"not the same" in body


async def test_with_a_token_the_cookie_is_ignored_and_no_page_can_be_behind_it(door):
    alice, bob = await door.person("alice"), await door.person("bob")
    made = await make(alice)
    foreign = {**bearer(made["token"]), "Cookie": f"__Host-tom={bob.cookie}", "Sec-Fetch-Site": "cross-site"}
    status, _, body = await told(door.stranger(**foreign, Origin=FOREIGN), "POST", "/reset", json={})
    assert status == 200
    assert json.loads(body)["user"] == "alice"
    without = {"Cookie": f"__Host-tom={bob.cookie}", "Sec-Fetch-Site": "cross-site", "Origin": FOREIGN}
    assert (await told(door.stranger(**without), "POST", "/reset", json={}))[0] == 403


@pytest.mark.slow
async def test_a_scope_that_is_missing_is_told_before_an_agent_is_reached(door):
    alice = await door.person("alice")
    tokens = {scope: (await make(alice, scope))["token"] for scope in Scope if scope is not Scope.ADMIN}
    routes = [route for route in door.gateway._parts.app._table.routes if route.scope is not None]
    assert len(routes) > 30
    for route in routes:
        other = Scope.HEALTH if route.scope is not Scope.HEALTH else Scope.MEMORY
        path = route.path
        for parameter in ("id", "session_id", "run_id", "request_id", "approval_id", "elicitation_id", "name", "model"):
            path = path.replace(f"{{{parameter}}}", "x")
        path = path.replace("{file}", "x").replace("{ip}", "1.2.3.4")
        status, _, body = await told(door.stranger(**bearer(tokens[other])), route.method, path)
        if route.scope is Scope.ADMIN:
            assert status in {401, 403, 503}, route
            continue
        assert (status, route) == (403, route)
        assert f"Token lacks scope '{route.scope}'".encode() in body
    assert door.agents.starts == []


async def test_what_needs_a_login_is_not_for_tokens(door):
    alice = await door.person("alice")
    stranger = door.stranger(**bearer((await make(alice, *(s for s in Scope if s is not Scope.ADMIN)))["token"]))
    for method, path in (("GET", "/"), ("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/x")):
        status, _, body = await told(stranger, method, path)
        assert status == 403, (method, path)
        assert b"login" in body


@pytest.mark.parametrize("where", ["query", "encoded", "path", "nobody", "unknown route", "socket"])
async def test_a_token_in_a_url_is_refused_and_worth_nothing_from_then_on(door, where):
    alice = await door.person("alice")
    token = (await make(alice, "read", "chat"))["token"]
    if where == "socket":
        with pytest.raises(InvalidStatus) as refused:
            async with door.socket(path=f"/ws/chat?token={token}", headers={**OPEN, **bearer(token)}):
                pass
        status, body = refused.value.response.status_code, refused.value.response.body
    else:
        path = {
            "query": f"/status?token={token}",
            "encoded": f"/status?token={token.replace('_', '%5F')}",
            "path": f"/sessions/{token}",
            "nobody": f"/health?key={token}",
            "unknown route": f"/nothing?key={token}",
        }[where]
        stranger = door.stranger() if where == "nobody" else door.stranger(**bearer(token))
        from yarl import URL

        status, _, body = await told(stranger, "GET", URL(door.url + path, encoded=True))
    assert status == 400
    assert b"Tokens are not accepted in the URL" in body
    assert (await told(door.stranger(**bearer(token)), "GET", "/status"))[0] == 401
    async with alice.get("/tokens") as answer:
        assert (await answer.json())["tokens"] == []


async def test_the_password_is_asked_for_again_after_ten_minutes(door):
    alice = await door.person("alice")
    (login,) = door.gateway._parts.accounts.logins("alice")
    login.created -= 601
    wanted = {"name": "a", "scopes": ["chat"]}
    for password in ({}, {"password": ""}, {"password": "wrong horse"}, {"password": 7}):
        status, headers, body = await told(alice, "POST", "/tokens", json=wanted | password)
        assert status == 401, password
        assert b"Password required" in body
        assert "WWW-Authenticate" not in headers
    status, _, _ = await told(alice, "POST", "/tokens", json=wanted | {"password": "correct horse battery"})
    assert status == 201


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"name": "a", "scopes": ["root"]}, 400, b"Unknown scope 'root'"),
        ({"name": "a", "scopes": ["admin"]}, 400, b"Only an admin"),
        ({"scopes": ["chat"]}, 400, b"'name'"),
        ({"name": "a"}, 400, b"'scopes'"),
        ({"name": "a", "scopes": ["chat"], "expires_in_days": 0}, 400, b"'expires_in_days'"),
        ({"name": "a", "scopes": ["chat"], "owner": "bob"}, 400, b"Unknown field 'owner'"),
        (b'{"name":"a","name":"b","scopes":["chat"]}', 400, b"not valid JSON"),
        (b"[" * 100 + b"]" * 100, 400, b"not valid JSON"),
        (b"[1]", 400, b"not a JSON object"),
        (b'{"name":"' + b"x" * 70_000 + b'"}', 413, b"too large"),
    ],
)
async def test_a_token_that_cannot_be_made_is_refused_by_name(door, body, status, says):
    alice = await door.person("alice")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    got, _, text = await told(alice, "POST", "/tokens", data=content, headers={"Content-Type": "application/json"})
    assert (got, says in text) == (status, True), text


async def test_the_fifty_first_is_refused(door):
    alice = await door.person("alice")
    for _ in range(50):
        await make(alice)
    assert (await told(alice, "POST", "/tokens", json={"name": "a", "scopes": ["chat"]}))[0] == 409


@pytest.mark.promise("P18")
@pytest.mark.parametrize("how", ["revoked", "shown in a url", "user disabled", "user gone"])
async def test_what_is_open_under_a_token_ends_within_a_second(door, write_config, how, until):
    alice = await door.person("alice")
    made = await make(alice, "chat", "read")
    sockets = [door.socket(headers={**OPEN, **bearer(made["token"])}) for _ in range(2)]
    async with sockets[0] as first, sockets[1] as second:
        stream = await door.stranger(**bearer(made["token"])).get("/sessions/x/events")
        assert (await stream.content.readline()) == b"event: event\n"
        began = time.monotonic()
        if how == "revoked":
            await told(alice, "DELETE", f"/tokens/{made['id']}")
        elif how == "shown in a url":
            await told(door.stranger(), "GET", f"/health?token={made['token']}")
        else:
            people = [{"username": "bob", "password": "correct horse battery"}]
            if how == "user disabled":
                people.append({"username": "alice", "password": "correct horse battery", "disabled": True})
            await door.gateway.apply(write_config(door.data, door.port, {"users": people}))
        for socket in (first, second):
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(1):
                    while True:
                        await socket.recv()
            assert closed.value.rcvd.code == 4401
        async with asyncio.timeout(1):
            rest = await stream.read()
        assert b"event: error\n" in rest
        assert b'"code":"invalid_token"' in rest
        assert time.monotonic() - began < 1
        stream.release()
    await until(lambda: door.agents.by_user["alice"].streams == 0)
    assert (await told(door.stranger(**bearer(made["token"])), "GET", "/status"))[0] == 401


# --- sockets and tickets -----------------------------------------------------------------------------------------


async def opening(door, headers, **options):
    """101, or the status and code of the refusal."""
    try:
        async with door.socket(headers=headers, **options) as socket:
            await socket.send("hello")
            await socket.recv()
            return 101, socket.subprotocol
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)["error"]["code"]


async def test_who_may_open_a_socket(opened):
    async with opened(chat={"websocket": {"allow_origins": [FOREIGN]}}) as door:
        alice, bob = await door.person("alice"), await door.person("bob")
        chat, read = (await make(alice, "chat"))["token"], (await make(alice, "read"))["token"]
        cookie, own = {"Cookie": f"__Host-tom={alice.cookie}"}, f"https://localhost:{door.port}"
        cases = [
            (bearer(chat), (101, None)),
            ({"X-API-Key": chat}, (101, None)),
            (bearer(chat) | {"Origin": own}, (101, None)),
            (bearer(chat) | {"Origin": FOREIGN}, (101, None)),
            (bearer(chat) | {"Origin": "https://evil.example"}, (403, "origin_not_allowed")),
            (bearer(chat) | {"Origin": "null"}, (403, "origin_not_allowed")),
            (bearer(chat) | {"Cookie": f"__Host-tom={bob.cookie}"}, (101, None)),
            (bearer(read), (403, "scope_missing")),
            (bearer(UNKNOWN), (401, "invalid_token")),
            (bearer(UNKNOWN) | cookie | OPEN, (401, "invalid_token")),
            (bearer(chat) | {"X-API-Key": read}, (401, "conflicting_credentials")),
            ({}, (401, "authentication_required")),
            (cookie | OPEN, (101, None)),
            (cookie, (403, "origin_not_allowed")),
            (cookie | {"Origin": own}, (101, None)),
            (cookie | {"Origin": FOREIGN}, (401, "authentication_required")),
            (cookie | {"Origin": own, "Sec-Fetch-Site": "cross-site"}, (403, "origin_not_allowed")),
        ]
        for headers, expected in cases:
            assert await opening(door, headers) == expected, headers
        starts = door.agents.starts
        assert starts == ["alice"]


async def test_a_page_elsewhere_opens_a_socket_with_a_ticket(opened):
    async with opened(chat={"websocket": {"allow_origins": [FOREIGN]}}) as door:
        alice = await door.person("alice")
        token = (await make(alice, "chat"))["token"]
        asked = {
            "Origin": FOREIGN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        status, headers, _ = await told(door.stranger(**asked), "OPTIONS", "/ws/ticket")
        assert status == 204
        assert headers["Access-Control-Allow-Origin"] == FOREIGN
        assert "authorization" in headers["Access-Control-Allow-Headers"].lower()
        assert "Access-Control-Allow-Credentials" not in headers
        status, headers, _ = await told(
            door.stranger(**asked | {"Origin": "https://evil.example"}), "OPTIONS", "/ws/ticket"
        )
        assert status == 401
        assert "Access-Control-Allow-Origin" not in headers
        status, headers, body = await told(door.stranger(**bearer(token), Origin=FOREIGN), "POST", "/ws/ticket")
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, FOREIGN)
        told_ticket = json.loads(body)
        assert told_ticket["expires_in"] == 30
        ticket = f"tom.ticket.{told_ticket['ticket']}"
        page = {"Origin": FOREIGN}
        assert await opening(door, page, subprotocols=["tom.chat.v1", ticket]) == (101, "tom.chat.v1")
        reached = dict(door.agents.by_user["alice"].seen[-1]["headers"])
        assert reached["sec-websocket-protocol"] == "tom.chat.v1"
        assert told_ticket["ticket"] not in json.dumps(reached)
        refused = (401, "invalid_token")
        assert await opening(door, page, subprotocols=["tom.chat.v1", ticket]) == refused, "once"
        assert await opening(door, page, subprotocols=["tom.chat.v1", "tom.ticket.x"]) == refused
        status, headers, _ = await told(door.stranger(**bearer(token), Origin=FOREIGN), "GET", "/health")
        assert "Access-Control-Allow-Origin" not in headers, "other routes are for cors_origins"


async def test_a_listed_page_uses_the_doors_with_a_token_and_never_with_a_cookie(opened):
    async with opened(**{"global": {"cors_origins": [FOREIGN]}}) as door:
        alice = await door.person("alice")
        token = (await make(alice, "chat", "read"))["token"]
        asked = {"Access-Control-Request-Method": "GET"}
        status, headers, _ = await told(door.stranger(Origin=FOREIGN, **asked), "OPTIONS", "/sessions")
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, FOREIGN)
        status, headers, _ = await told(door.stranger(**bearer(token), Origin=FOREIGN), "GET", "/sessions")
        assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, FOREIGN, "Origin")
        assert "Access-Control-Allow-Credentials" not in headers
        status, headers, _ = await told(door.stranger(Origin=FOREIGN), "GET", "/sessions")
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, FOREIGN), "a refusal can be read too"
        status, headers, _ = await told(
            door.stranger(**bearer(token), Origin="https://evil.example"), "GET", "/sessions"
        )
        assert status == 200
        assert "Access-Control-Allow-Origin" not in headers
        with_cookie = {"Cookie": f"__Host-tom={alice.cookie}", "Origin": FOREIGN}
        assert (await told(door.stranger(**with_cookie), "POST", "/reset", json={}))[0] == 403


async def test_a_ticket_is_worth_what_its_owner_is_worth(door):
    alice, bob = await door.person("alice"), await door.person("bob")
    one, two = await make(alice, "chat"), await make(bob, "chat")

    async def ticket(session):
        status, _, body = await told(session, "POST", "/ws/ticket", json={})
        assert status == 200
        return ["tom.chat.v1", f"tom.ticket.{json.loads(body)['ticket']}"]

    protocols = await ticket(door.stranger(**bearer(one["token"])))
    assert await opening(door, bearer(two["token"]), subprotocols=protocols) == (401, "conflicting_credentials")
    protocols = await ticket(door.stranger(**bearer(one["token"])))
    assert await opening(door, bearer(one["token"]), subprotocols=protocols) == (101, "tom.chat.v1")
    protocols = await ticket(door.stranger(**bearer(one["token"])))
    await told(alice, "DELETE", f"/tokens/{one['id']}")
    assert await opening(door, {}, subprotocols=protocols) == (401, "invalid_token")
    protocols = await ticket(alice)
    await told(alice, "POST", "/logout", json={})
    assert await opening(door, {}, subprotocols=protocols) == (401, "invalid_token")
    read = await make(bob, "read")
    assert (await told(door.stranger(**bearer(read["token"])), "POST", "/ws/ticket"))[0] == 403
    assert (await told(door.stranger(), "POST", "/ws/ticket"))[0] == 401


async def test_beyond_the_greatest_number_a_socket_is_accepted_and_closed(opened):
    async with opened(chat={"websocket": {"concurrency": {"max_connections": 2}}}) as door:
        cookie = await door.log_in("alice")
        async with door.socket(cookie), door.socket(cookie, subprotocols=["tom.chat.v1"]):
            async with door.socket(cookie, subprotocols=["tom.chat.v1"]) as third:
                assert third.subprotocol == "tom.chat.v1"
                with pytest.raises(ConnectionClosed) as closed:
                    await third.send("hello")
                    await third.recv()
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "Server at maximum capacity")
            assert len(door.agents.by_user["alice"].seen) == 2, "nothing reached the agent"
        async with door.socket(cookie) as again:
            await again.send("hello")
            assert await again.recv() == "alice: hello"


# --- the operator's way ------------------------------------------------------------------------------------------


async def test_the_operator_makes_and_takes_back_tokens_at_the_control_socket(door):
    from tom.gateway.controlclient import ask_gateway

    async def ask(method, path, body=None):
        return await ask_gateway(door.data, method, path, body)

    status, made = await ask("POST", "/users/alice/tokens", {"name": "a", "scopes": ["read"], "expires_in_days": 1})
    assert status == 200
    assert (await told(door.stranger(**bearer(made["token"])), "GET", "/status"))[0] == 200
    status, found = await ask("GET", "/users/alice/tokens")
    assert [row["id"] for row in found["tokens"]] == [made["id"]]
    assert (await ask("DELETE", f"/users/bob/tokens/{made['id']}"))[0] == 404
    assert (await ask("DELETE", f"/users/alice/tokens/{made['id']}"))[0] == 200
    assert (await told(door.stranger(**bearer(made["token"])), "GET", "/status"))[0] == 401
    assert (await ask("POST", "/users/nobody/tokens", {"name": "a", "scopes": ["read"]}))[0] == 404
    assert (await ask("POST", "/users/alice/tokens", {"name": "a", "scopes": ["admin"]}))[0] == 400
