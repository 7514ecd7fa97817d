"""Logging in and out through the door."""

import asyncio
import json

import pytest

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery"


async def test_json_login_answers_who_and_until_when_and_sets_a_host_cookie(door):
    async with door.stranger().post("/login", json={"username": "Alice", "password": PASSWORD}) as answer:
        body = await answer.json()
        assert answer.status == 200
        assert (body["status"], body["username"]) == ("OK", "alice")
        assert body["expires_at"].endswith("Z")
        cookie, device = answer.headers.getall("Set-Cookie")
    name, _, rest = cookie.partition("=")
    value, *attributes = (part.strip() for part in rest.split(";"))
    assert name == "__Host-tom"
    assert len(value) == 43
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=2592000"} == set(attributes)
    name, _, rest = device.partition("=")
    value, *attributes = (part.strip() for part in rest.split(";"))
    assert (name, len(value)) == ("__Host-tom-device", 43)
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=34560000"} == set(attributes)


async def test_a_browser_that_logged_in_before_is_not_locked_out_by_others(door):
    right, wrong = ({"username": "alice", "password": password} for password in (PASSWORD, "wrong"))
    async with door.stranger().post("/login", json=right) as answer:
        kept = answer.headers.getall("Set-Cookie")[1].partition(";")[0]
    for _ in range(5):
        async with door.stranger().post("/login", json=wrong) as answer:
            assert answer.status == 401
    async with door.stranger().post("/login", json=right) as answer:
        assert answer.status == 429
    async with door.stranger(Cookie=f"a=b; {kept}").post("/login", json=right) as answer:
        assert answer.status == 200
        assert answer.headers.getall("Set-Cookie")[1].partition(";")[0] == kept


async def test_a_login_that_is_not_remembered_ends_with_the_browser(door):
    form = {"username": "alice", "password": PASSWORD, "remember": "false"}
    async with door.stranger().post("/login", data=form, allow_redirects=False) as answer:
        assert answer.status == 303
        assert "Max-Age" not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("wanted", "sent_to"),
    [
        ("/sessions?limit=5", "/sessions?limit=5"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
    ],
)
async def test_form_login_goes_on_to_a_path_of_this_host_only(door, wanted, sent_to):
    form = {"username": "alice", "password": PASSWORD, "next": wanted}
    async with door.stranger().post("/login", data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, sent_to)


async def test_wrong_password_and_unknown_user_are_answered_alike(door):
    bodies = []
    for username in ("alice", "nobody"):
        async with door.stranger().post("/login", json={"username": username, "password": "wrong"}) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
            body = await answer.json()
            assert body.pop("request_id") == answer.headers["X-Request-ID"]
            bodies.append(body)
    assert bodies[0] == bodies[1] == {"status": "ERROR", "message": "Invalid credentials"}


async def test_a_wrong_password_in_the_form_shows_the_form_again(door):
    form = {"username": "alice", "password": "wrong", "next": "/tasks"}
    async with door.stranger().post("/login", data=form, allow_redirects=False) as answer:
        page = await answer.text()
        assert answer.status == 401
        assert "Invalid credentials" in page
        assert 'value="/tasks"' in page


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"username": "alice"}', "application/json", 400),
        (b'{"username": "alice", "password": ""}', "application/json", 400),
        (b'{"username": "alice", "password": 7}', "application/json", 400),
        (b'{"username": "alice", "username": "bob", "password": "x"}', "application/json", 400),
        (b'{"username": "alice", "password": NaN}', "application/json", 400),
        (b"[" * 4000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"username=alice", "text/plain", 415),
        (b"x" * 8193, "application/json", 413),
        (b"username=alice&password=%ff", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_a_login_that_cannot_be_read_is_refused(door, content, kind, status):
    async with door.stranger().post("/login", data=content, headers={"Content-Type": kind}) as answer:
        assert answer.status == status
        body = await answer.json()
        assert body["status"] == "ERROR"


async def test_after_five_failures_the_password_is_not_looked_at(door):
    stranger = door.stranger()
    for _ in range(5):
        async with stranger.post("/login", json={"username": "alice", "password": "wrong"}) as answer:
            assert answer.status == 401
    async with stranger.post("/login", json={"username": "alice", "password": PASSWORD}) as answer:
        assert answer.status == 429
        body = await answer.json()
        assert body["error"] == "rate_limited"
        assert 0 < body["retry_after"] <= 2
        assert answer.headers["Retry-After"] in {"1", "2"}
    async with stranger.post("/login", data={"username": "alice", "password": PASSWORD}) as answer:
        assert answer.status == 429
        assert "before the next attempt" in await answer.text()
    assert await door.log_in("bob")


async def test_logging_out_ends_the_login_on_the_server(door):
    alice = await door.person("alice")
    async with alice.get("/tasks") as answer:
        assert answer.status == 200
    async with alice.post("/logout", json={}) as answer:
        assert await answer.json() == {"status": "OK"}
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
    async with alice.get("/tasks") as answer:
        assert answer.status == 401
        assert "Max-Age=0" in answer.headers["Set-Cookie"], "an ended login's cookie is cleared"


async def test_logging_out_twice_or_without_a_login_is_answered_alike(door):
    async with door.stranger().post("/logout", json={}) as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "OK"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with door.stranger().post("/logout", data=b"", headers=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/auth")


@pytest.mark.parametrize(
    ("site", "logged_out"),
    [("same-origin", True), ("none", True), (None, True), ("cross-site", False), ("same-site", False)],
)
async def test_a_logout_link_works_unless_a_foreign_page_holds_it(door, site, logged_out):
    alice = await door.person("alice")
    headers = {"Sec-Fetch-Site": site} if site else {}
    async with alice.get("/logout", headers={**headers, "Accept": "text/html"}, allow_redirects=False) as answer:
        assert answer.status == (303 if logged_out else 200)
        if not logged_out:
            assert 'action="/logout"' in await answer.text()
    async with alice.get("/tasks") as answer:
        assert answer.status == (401 if logged_out else 200)


async def test_looking_at_the_logout_link_logs_nobody_out(door):
    alice = await door.person("alice")
    async with alice.head("/logout") as answer:
        assert answer.status == 200
    async with alice.get("/tasks") as answer:
        assert answer.status == 200


async def test_a_new_login_replaces_the_one_of_the_same_browser(door):
    alice = await door.person("alice")
    async with alice.post("/login", json={"username": "alice", "password": PASSWORD}) as answer:
        assert answer.status == 200
    async with alice.get("/tasks") as answer:
        assert answer.status == 401


async def test_the_login_page_is_for_those_who_are_not_logged_in(door):
    async with door.stranger().get("/auth?next=/tasks") as answer:
        assert answer.status == 200
        assert 'value="/tasks"' in await answer.text()
    alice = await door.person("alice")
    async with alice.get("/auth?next=/tasks", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/tasks")
    async with door.stranger().get("/login?username=alice&password=x", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/auth")


async def test_a_browser_without_a_login_is_sent_to_the_form_and_comes_back(door):
    page = {"Accept": "text/html"}
    async with door.stranger().get("/index?x=1", headers=page, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/auth?next=/index%3Fx%3D1"
    alice = await door.person("alice")
    async with alice.get("/", headers=page) as answer:
        assert answer.status == 200
        assert "alice" in await answer.text()


async def test_many_logins_at_once_all_get_an_answer(door):
    async def attempt(number):
        async with door.stranger().post("/login", json={"username": f"user{number}", "password": "x"}) as answer:
            return answer.status

    statuses = await asyncio.gather(*(attempt(number) for number in range(30)))
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) == 20, "twenty failures of one address are free"


async def test_the_first_login_cookie_in_force_counts(door):
    alice, bob = await door.log_in("alice"), await door.log_in("bob")
    dead = "A" * 43
    for cookies, user in [
        (f"__Host-tom={dead}; __Host-tom={alice}; __Host-tom={bob}", "alice"),
        (f"tom_login={alice}; Host-tom={alice}; __Host-tom={bob}", "bob"),
        (f'__Host-tom="{alice}"; __Host-tom={bob}', "bob"),
    ]:
        async with door.stranger(Cookie=cookies).get("/tasks") as answer:
            assert (await answer.json())["user"] == user
    async with door.stranger(Cookie=f"tom_login={alice}").get("/tasks") as answer:
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers


async def test_passwords_are_compared_as_nfc(opened):
    people = [{"username": "zoe", "password": "pa\u0308sswort lang genug"}]
    async with opened(users=people) as door:
        assert await door.log_in("zoe", "p\u00e4sswort lang genug")


async def test_nothing_of_a_password_is_logged(door, capfd):
    async with door.stranger().post("/login", json={"username": "alice", "password": "canary-7319"}) as answer:
        assert answer.status == 401
    await door.log_in("alice")
    from tom.telemetry import logs

    logs.flush()
    text = "".join(capfd.readouterr())
    assert "Login failed for 'alice'" in text
    assert "canary-7319" not in text
    assert PASSWORD not in text
    assert json.dumps(PASSWORD) not in text
