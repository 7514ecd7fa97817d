"""Requests that a foreign page may have caused: the table of the CSRF rule, on requests and on upgrades."""

import pytest
from websockets.exceptions import InvalidStatus

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OWN, OTHER_NAME, FOREIGN, OTHER_PORT = "own", "other name", "https://evil.example", "other port"

CASES = [
    # Sec-Fetch-Site, Origin, X-Tom-Client, with a cookie, at login
    ("same-origin", None, False, True, True),
    ("same-origin", FOREIGN, False, True, True),
    ("cross-site", None, True, False, False),
    ("same-site", OWN, True, False, False),
    ("none", OWN, True, False, False),
    ("nonsense", OWN, True, False, False),
    (None, OWN, False, True, True),
    (None, OTHER_NAME, False, True, True),
    (None, FOREIGN, True, False, False),
    (None, OTHER_PORT, True, False, False),
    (None, "null", True, False, False),
    (None, "https://[", True, False, False),
    (None, "https://[::1", True, False, False),
    (None, "http://localhost", True, False, False),
    (None, None, True, True, True),
    (None, None, False, False, True),
]


def headers_of(door, site, origin, client):
    names = {OWN: door.url, OTHER_NAME: f"https://127.0.0.1:{door.port}", OTHER_PORT: "https://localhost:1"}
    headers = {"Sec-Fetch-Site": site, "Origin": names.get(origin, origin), "X-Tom-Client": "x" if client else None}
    return {name: value for name, value in headers.items() if value is not None}


async def test_requests_that_change_something_pass_by_the_table(door):
    cookie = await door.log_in("alice")
    for site, origin, client, allowed, _ in CASES:
        headers = headers_of(door, site, origin, client)
        async with door.stranger(Cookie=f"__Host-tom={cookie}").post("/reset", json={}, headers=headers) as answer:
            assert answer.status == (200 if allowed else 403), headers
            if not allowed:
                assert (await answer.json())["message"] == "Cross-site request refused"
    reached = len(door.agents.by_user["alice"].seen)
    assert reached == sum(1 for case in CASES if case[3]), "no refused request reaches an agent"


@pytest.mark.promise("P16")
@pytest.mark.parametrize("path", ["/approvals/x", "/elicitations/x"])
async def test_no_foreign_page_answers_an_ask(door, path):
    cookie = await door.log_in("alice")
    for site, origin, client, allowed, _ in CASES:
        headers = headers_of(door, site, origin, client)
        async with door.stranger(Cookie=f"__Host-tom={cookie}").post(path, json={}, headers=headers) as answer:
            assert answer.status == (200 if allowed else 403), headers
            if not allowed:
                assert (await answer.json())["error"]["code"] == "origin_not_allowed"
    assert len(door.agents.by_user["alice"].seen) == sum(1 for case in CASES if case[3])


async def test_a_login_form_of_a_foreign_page_is_refused(door):
    for site, origin, client, _, allowed in CASES:
        headers = headers_of(door, site, origin, client)
        form = {"username": "nobody", "password": ""}
        async with door.stranger().post("/login", data=form, headers=headers) as answer:
            assert answer.status == (400 if allowed else 403), headers


async def test_a_foreign_page_logs_nobody_out_and_clears_no_cookie(door):
    for site, origin, client, with_login, without in CASES:
        headers = headers_of(door, site, origin, client)
        cookies = {None: without, "stale": without, await door.log_in("alice"): with_login}
        for cookie, allowed in cookies.items():
            sent = headers | ({"Cookie": f"__Host-tom={cookie}"} if cookie else {})
            async with door.stranger().post("/logout", json={}, headers=sent) as answer:
                assert answer.status == (200 if allowed else 403), sent
                assert ("Set-Cookie" in answer.headers) is allowed, sent


async def test_reading_needs_no_proof_of_origin(door):
    alice = await door.log_in("alice")
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN}
    async with door.stranger(Cookie=f"__Host-tom={alice}").get("/tasks", headers=headers) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_socket_is_opened_by_the_same_table_and_never_for_a_foreign_origin(door):
    cookie = await door.log_in("alice")
    for site, origin, client, allowed, _ in CASES:
        headers = headers_of(door, site, origin, client)
        expected = allowed and origin != FOREIGN
        try:
            async with door.socket(cookie, headers=headers) as socket:
                await socket.send("hello")
                assert await socket.recv() == "alice: hello"
                opened = True
        except InvalidStatus as refused:
            opened = False
            assert refused.response.status_code == 403, headers
        assert opened is expected, headers


async def test_a_foreign_origin_is_refused_before_the_credential_is_looked_at(door):
    with pytest.raises(InvalidStatus) as refused:
        async with door.socket(headers={"Origin": FOREIGN}):
            pass
    assert refused.value.response.status_code == 403
    assert b'"code":"origin_not_allowed"' in refused.value.response.body
    assert refused.value.response.headers["X-Request-ID"]
    assert door.agents.starts == []


async def test_a_listed_origin_may_not_use_a_cookie(opened):
    async with opened(chat={"websocket": {"allow_origins": [FOREIGN]}}) as door:
        cookie = await door.log_in("alice")
        with pytest.raises(InvalidStatus) as refused:
            async with door.socket(cookie, headers={"Origin": FOREIGN}):
                pass
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            async with door.socket(headers={"Origin": FOREIGN}):
                pass
        assert refused.value.response.status_code == 401
