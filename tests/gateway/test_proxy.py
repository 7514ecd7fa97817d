"""The way of a request to its person's agent and back."""

import asyncio
import io
import json
import time

import pytest
from aiohttp import ClientTimeout
from websockets.exceptions import InvalidStatus
from yarl import URL

from tom.gateway.agentlink import TimedOut, ask, render_head

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SAVED = b"200 OK\r\ncontent-type: text/markdown\r\ncontent-disposition: %s\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
def anyio_backend(request):
    """The product runs on uvloop; both loops must do."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


async def test_the_clients_credentials_and_false_names_are_dropped_and_the_true_ones_added(door):
    cookie = await door.log_in("alice")
    headers = [
        ("X-Tom-Client", "x"), ("X-Tom-User", "bob"), ("x-tom-agent-secret", "guess"), ("X-Tom-Door", "token"),
        ("Authorization", "Basic eDp5"), ("X-API-Key", ""), ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Proto", "http"), ("Forwarded", "for=1.2.3.4"), ("X-Real-IP", "1.2.3.4"), ("TE", "trailers"),
        ("Connection", "keep-alive, X-Private"), ("X-Private", "mine"), ("X-Admin-Token", "x"),
        ("Cookie", f"__Host-tom={cookie}"), ("X-Kept", "1"), ("X-Request-ID", "abc.DEF-1_2"),
    ]  # fmt: skip
    async with door.stranger().get(URL(f"{door.url}/status?a=%2F&b=%C3%A4", encoded=True), headers=headers) as answer:
        told = await answer.json()
    assert told["user"] == "alice"
    assert told["query"] == "a=%2F&b=%C3%A4"
    sent = dict(told["headers"])
    assert len(sent) == len(told["headers"]), "nothing is said twice"
    tom = {name: value for name, value in sent.items() if name.startswith("x-tom")}
    secret = door.agents.by_user["alice"].secret
    assert tom == {
        "x-tom-user": "alice", "x-tom-door": "cookie", "x-tom-agent-secret": secret, "x-tom-key": "user:alice",
        "x-tom-address": "127.0.0.1", "x-tom-scopes": "chat health memory notifications options read",
    }  # fmt: skip
    assert sent["x-request-id"] == "abc.DEF-1_2"
    assert sent["x-kept"] == "1"
    gone = {"authorization", "cookie", "x-api-key", "forwarded", "x-real-ip", "te", "x-private", "x-admin-token"}
    assert not gone & set(sent)
    assert not any(name.startswith("x-forwarded") for name in sent)
    assert sent["host"] == "agent"


async def test_the_agents_answer_comes_back_without_what_is_not_its_to_say(door):
    alice = await door.person("alice")
    async with alice.get("/tasks") as answer:
        assert not {"X-Other", "Set-Cookie", "Server", "Location", "WWW-Authenticate"} & set(answer.headers)
        assert "Cache-Control" not in answer.headers, "an agent cannot have an answer kept"
        assert answer.headers["Retry-After"] == "3"
        assert answer.headers.getall("Content-Security-Policy") == ["default-src 'none'; sandbox"]
        assert len(answer.headers.getall("X-Request-ID")) == 1


async def test_every_answer_carries_its_id_and_the_security_headers(door):
    alice = await door.person("alice")
    calls = [
        ("GET", "/health", 200), ("GET", "/nowhere", 404), ("PUT", "/login", 405), ("GET", "/tasks", 200),
        ("GET", "/", 200), ("POST", "/login", 415), ("GET", "/auth", 200),
    ]  # fmt: skip
    for method, path, status in calls:
        async with alice.request(method, path, headers={"X-Request-ID": "bad id!"}, allow_redirects=False) as answer:
            assert answer.status in {status, 303}, path
            assert len(answer.headers["X-Request-ID"]) == 26, "what is no id is replaced"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy or "sandbox" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "unsafe" not in policy
            assert "Strict-Transport-Security" not in answer.headers, "this certificate is self-signed"
            assert "Server" not in answer.headers


async def test_bodies_pass_whole_and_redirects_are_not_followed(door):
    alice = await door.person("alice")
    content = {"request": "ä" * 100_000}
    async with alice.post("/process", json=content) as answer:
        assert (await answer.json())["response"] == content["request"]
    async with alice.post("/process", json={"request": "redirect"}, allow_redirects=False) as answer:
        assert answer.status == 307
        assert "Location" not in answer.headers

    async def pieces():
        yield b'{"request": '
        yield b'"chunked"}'

    headers = {"Content-Type": "application/json"}
    async with alice.post("/process", data=pieces(), headers=headers) as answer:
        assert (await answer.json())["response"] == "chunked"


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("POST", "/process", 1_048_576, 413),
        ("POST", "/reset", 65_536, 413),
        ("POST", "/notifications", 65_536, 413),
        ("POST", "/approvals/x", 1_048_576, 413),
        ("POST", "/elicitations/x", 1_048_576, 413),
    ],
)
async def test_a_body_that_is_too_large_never_reaches_the_agent(door, method, path, size, status):
    alice = await door.person("alice")
    headers = {"Content-Type": "application/json"}

    async def endless():
        for _ in range(size // 4096 + 1):
            yield b" " * 4096

    for content in (io.BytesIO(b" " * (size + 1)), endless()):
        async with alice.request(method, path, data=content, headers=headers) as answer:
            assert answer.status == status
            told = await answer.json()
            assert told.get("status") == "ERROR" or told["error"]["code"] == "payload_too_large"
    assert door.agents.starts == []


async def test_a_body_that_is_not_json_is_refused(door):
    alice = await door.person("alice")
    async with alice.post("/process", data=b"a=b", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
    async with alice.post("/approvals/x", data=b"a=b", headers={"Content-Type": "text/plain"}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (415, "unsupported_media_type")
    async with alice.post("/reset") as answer:
        assert answer.status == 200, "an empty body has no type"


async def test_strangers_reach_no_agent(door):
    for method, path in [("GET", "/tasks"), ("POST", "/process"), ("GET", "/notifications"), ("GET", "/process/x")]:
        async with door.stranger().request(method, path) as answer:
            body = await answer.json()
            assert answer.status == 401
            assert body["message"] == "Authentication required"
            assert body["request_id"] == answer.headers["X-Request-ID"]
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with door.stranger().get("/sessions") as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["code"] == "authentication_required"
    assert door.agents.starts == []


async def test_unknown_paths_and_methods_are_refused(door):
    alice = await door.person("alice")
    for path in ("/nowhere", "/tasks/", "/process/a/b", "/Tasks", "/static", "/sessions/a/b"):
        async with alice.get(path) as answer:
            assert answer.status == 404, path
    async with alice.delete("/tasks") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    async with alice.put("/notifications") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    async with alice.get("/nowhere", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    async with alice.head("/tasks") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.promise("P10")
async def test_two_people_never_reach_each_others_agent(door):
    people = {name: await door.person(name) for name in ("alice", "bob")}

    async def ask(name, number):
        async with people[name].get(f"/tasks?n={number}", headers={"X-Tom-User": "bob"}) as answer:
            assert (await answer.json())["user"] == name

    await asyncio.gather(*(ask(name, number) for name in people for number in range(25)))
    for name, agent in door.agents.by_user.items():
        assert len(agent.seen) == 25
        assert {dict(told["headers"])["x-tom-user"] for told in agent.seen} == {name}
    secrets = {agent.secret for agent in door.agents.by_user.values()}
    assert len(secrets) == 2
    for name in people:
        path = door.data / "users" / name / "agent.secret"
        assert path.read_text() in secrets
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_stream_is_passed_on_as_it_comes(door):
    alice = await door.person("alice")
    async with alice.get("/sessions/x/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        first = await answer.content.readuntil(b"\n\n")
        assert first == b"event: event\ndata: 1\n\n"
        agent = door.agents.by_user["alice"]
        assert agent.streams == 1
        agent.release.set()
        rest = await answer.content.read()
        assert rest.endswith(b"data: 2\n\n")


async def test_a_client_that_leaves_a_stream_leaves_the_agents_too(door, until):
    alice = await door.person("alice")
    answer = await alice.get("/sessions/x/events")
    await answer.content.readuntil(b"\n\n")
    agent = door.agents.by_user["alice"]
    answer.close()
    await until(lambda: agent.streams == 0)


@pytest.mark.promise("P5")
async def test_a_client_that_goes_away_does_not_stop_the_run(door, until):
    alice = await door.person("alice")
    asking = asyncio.ensure_future(alice.post("/process", json={"request": "wait"}))
    await until(lambda: door.agents.by_user.get("alice") and door.agents.by_user["alice"].seen)
    agent = door.agents.by_user["alice"]
    asking.cancel()
    await asyncio.wait([asking])
    async with alice.get("/tasks") as answer:
        assert answer.status == 200
    agent.release.set()
    await until(lambda: agent.finished_runs == 1)


@pytest.mark.promise("P18")
async def test_logging_out_ends_a_stream_with_a_word_within_a_second(door):
    alice = await door.person("alice")
    async with alice.get("/sessions/x/events") as answer:
        await answer.content.readuntil(b"\n\n")
        began = time.monotonic()
        async with alice.post("/logout", json={}) as logout:
            assert logout.status == 200
        rest = await answer.content.read()
        assert time.monotonic() - began < 1
        *_, last = rest.decode().strip().split("\n\n")
        kind, data = last.split("\n")
        assert kind == "event: error"
        assert json.loads(data.removeprefix("data: ")) == {
            "request_id": "unknown",
            "status": "error",
            "chunk": {"error": "Authentication required"},
            "error": {"code": "authentication_required", "message": "Authentication required", "details": {}},
        }


async def test_logging_out_cuts_a_request_that_waits(door, until):
    alice = await door.person("alice")
    asking = asyncio.ensure_future(alice.post("/process", json={"request": "wait"}))
    await until(lambda: door.agents.by_user.get("alice") and door.agents.by_user["alice"].seen)
    async with alice.post("/logout", json={}):
        pass
    async with asyncio.timeout(1):
        answer = await asking
    assert answer.status == 401
    answer.release()


@pytest.mark.slow
async def test_an_agent_that_does_not_answer_is_504_and_the_run_is_named(opened):
    async with opened(**{"global": {"proxy_timeout": 1}}) as door:
        alice = await door.person("alice")
        async with alice.post("/process", json={"request": "wait", "request_id": "mine"}) as answer:
            assert answer.status == 504
            body = await answer.json()
            own_id = answer.headers["X-Request-ID"]
        assert body["message"] == "Backend service timed out for user alice"
        assert (body["run_id"], body["request_id"]) == ("R1", "mine")
        [(asked, sent)] = [(told["path"], dict(told["headers"])) for told in door.agents.by_user["alice"].asked]
        assert (asked, sent["x-request-id"]) == ("/process/mine", own_id), "the header is the request's own id"
        for identifier in ("x\r\nX-Tom-User: bob", "a" * 129, "ä", ""):
            async with alice.post("/process", json={"request": "wait", "request_id": identifier}) as answer:
                assert answer.status == 504
                assert "run_id" not in await answer.json()
        assert len(door.agents.by_user["alice"].asked) == 1, "what is no id is not asked for"
        async with alice.post("/process", json={"request": "wait"}) as answer:
            body = await answer.json()
            assert "run_id" not in body
            assert body["request_id"] == answer.headers["X-Request-ID"]


async def test_an_agent_that_dies_during_the_answer_is_502(door, until):
    alice = await door.person("alice")
    asking = asyncio.ensure_future(alice.post("/process", json={"request": "wait"}))
    await until(lambda: door.agents.by_user.get("alice") and door.agents.by_user["alice"].seen)
    await door.agents.crash("alice")
    answer = await asking
    assert answer.status == 502
    assert (await answer.json())["message"] == "Backend service failed for user alice"
    async with alice.get("/tasks") as answer:
        assert answer.status == 200, "it is there again after its back-off"


async def test_a_stream_whose_agent_dies_says_so(door):
    alice = await door.person("alice")
    async with alice.get("/sessions/x/events") as answer:
        await answer.content.readuntil(b"\n\n")
        await door.agents.crash("alice")
        rest = await answer.content.read()
        assert b'event: error\ndata: {"request_id":"unknown","status":"error","chunk":{"error":"Backend' in rest
        assert b'"error":{"code":"agent_failed"' in rest


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"204 No Content\r\n\r\n", 204),
        (b"200 OK\r\ncontent-length: 0\r\n\r\n", 200),
        (b"200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}", 200),
        (b"200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}", 502),
        (b"200 OK\r\ncontent-type: text/markdown\r\ncontent-length: 2\r\n\r\n{}", 502),
        (SAVED % b'inline; filename="a.md"', 502),
        (SAVED % b'attachment; filename="a;b.md"', 502),
        (SAVED % b'attachment; filename="a.md"', 200),
        (b"404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n", 502),
        (b"200 OK\r\ncontent-length: 2\r\n\r\n{}", 502),
        (b"200 OK\r\n" + b"content-type: application/json\r\n" * 2 + b"content-length: 2\r\n\r\n{}", 502),
        (b"999 Odd\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 502),
    ],
)
async def test_only_json_events_and_nothing_come_back_from_an_agent(door, imposter, answer, status):
    alice = await door.person("alice")
    await imposter(door, b"HTTP/1.1 " + answer)
    async with alice.get("/tasks") as got:
        assert got.status == status
        if status == 502:
            assert (await got.json())["message"] == "Backend service failed for user alice"


async def test_what_is_not_http_is_502(door, imposter):
    alice = await door.person("alice")
    await imposter(door, b"220 welcome to mail\r\n\r\n")
    async with alice.get("/tasks") as answer:
        assert answer.status == 502
        assert (await answer.json())["message"] == "Backend service failed for user alice"
    async with alice.get("/sessions") as answer:
        assert (await answer.json())["error"]["code"] == "agent_failed"


async def test_a_defect_is_500_with_nothing_but_the_id(door, monkeypatch, capfd):
    alice = await door.person("alice")
    monkeypatch.setattr(door.gateway._parts.pool, "take", lambda user: 1 / 0)
    async with alice.get("/tasks") as answer:
        assert answer.status == 500
        body = await answer.json()
        assert body["message"] == "Internal error"
        assert body["request_id"] == answer.headers["X-Request-ID"]
        assert "ZeroDivision" not in json.dumps(body)


async def test_health_tells_the_certificate_and_the_agents(door):
    async with door.stranger().get("/health") as answer:
        body = await answer.json()
    assert answer.status == 200
    assert body["status"] == "ok"
    assert body["tls"] == "ok"
    assert body["agents"] == {"running": 0, "starting": 0}
    assert {"uptime_seconds", "requests_total", "responses_total", "errors_total"} <= set(body)
    alice = await door.person("alice")
    async with alice.post("/process", json={"request": "x"}):
        pass
    async with door.stranger().get("/health/ready") as answer:
        body = await answer.json()
        assert (answer.status, body["ready"], body["agents"]["running"]) == (200, True, 1)
    async with door.stranger().get("/health") as answer:
        body = await answer.json()
        assert (body["requests_total"], body["responses_total"], body["errors_total"]) == (1, 1, 0)
        assert "alice" not in json.dumps(body)


async def test_a_stopping_gateway_finishes_what_it_answers_and_takes_nothing_new(door, until):
    alice = await door.person("alice")
    asking = asyncio.ensure_future(alice.post("/process", json={"request": "wait"}))
    await until(lambda: door.agents.by_user.get("alice") and door.agents.by_user["alice"].seen)
    door.gateway.stop()

    async def is_stopping():
        async with alice.get("/health/ready") as answer:
            return answer.status == 503 and not (await answer.json())["ready"]

    await until(is_stopping)
    async with alice.get("/tasks") as answer:
        assert answer.status == 503
        assert "restarting" in (await answer.json())["message"]
        assert int(answer.headers["Retry-After"]) >= 1
    with pytest.raises(InvalidStatus) as refused:
        async with door.socket(alice.cookie):
            pass
    assert refused.value.response.status_code == 503
    assert b'"code":"shutting_down"' in refused.value.response.body
    door.agents.by_user["alice"].release.set()
    answer = await asking
    assert answer.status == 200
    answer.release()


async def test_the_page_and_its_files_are_served_with_their_access(door):
    alice = await door.person("alice")
    async with alice.get("/") as answer:
        page = await answer.text()
    path = page.partition('href="/static/')[2].partition('"')[0]
    async with door.stranger().get(f"/static/{path}") as answer:
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
    async with door.stranger().get("/static/0/nothing.js") as answer:
        assert answer.status == 404
        assert (await answer.json())["request_id"] == answer.headers["X-Request-ID"]
    async with alice.post("/page/render", json={"markdown": ["**x**"]}) as answer:
        assert "<strong>x</strong>" in (await answer.json())["html"][0]
    async with door.stranger().post("/page/render", json={"markdown": ["x"]}) as answer:
        assert answer.status == 401


async def test_asking_an_agent_ends_in_time_even_if_it_drips(door, imposter):
    await imposter(door, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", *[b"x"] * 40, pause=0.1)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await ask(door.agents.handles["alice"].socket, "/health", [], seconds=0.5)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "pieces",
    [
        [b"X: " + b"a" * 70_000],
        [b"A: %d\r\n" % number for number in range(110)],
        [b"\r\nHTTP/1.1 100 Continue\r\nA: 1\r\n"] * 110,
        [b"\r\nHTTP/1.1 100 Continue\r\n"] * 3000,
        [b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ],
    ids=["endless", "many", "interim", "many interim", "not HTTP"],
)
async def test_a_head_without_bound_ends_the_exchange(door, imposter, until, pieces):
    alice = await door.person("alice")
    closed = await imposter(door, b"HTTP/1.1 100 Continue\r\n" + b"".join(pieces), end=False)
    async with alice.get("/tasks", timeout=ClientTimeout(5)) as answer:
        assert answer.status == 502
    await until(lambda: closed)


@pytest.mark.parametrize("trailers", [b"X: " + b"a" * 400_000, b"A: 1\r\n" * 200], ids=["endless", "many"])
async def test_trailers_without_bound_end_the_exchange(door, imposter, until, trailers):
    alice = await door.person("alice")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    closed = await imposter(door, head, b"2\r\n\n\n\r\n0\r\n", trailers, end=False)
    async with alice.get("/sessions/x/events", timeout=ClientTimeout(5)) as answer:
        assert b"agent_failed" in await answer.read()
    await until(lambda: closed)


async def test_a_stream_of_many_small_pieces_has_no_bound(door, imposter):
    alice = await door.person("alice")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    await imposter(door, head, *[b"1\r\n:\r\n" * 2000] * 20, b"0\r\nTrailer: kept\r\n\r\n")
    async with alice.get("/sessions/x/events") as answer:
        assert len(await answer.read()) == 40_000


async def test_a_head_that_drips_is_504(opened, imposter):
    async with opened(**{"global": {"proxy_timeout": 1}}) as door:
        alice = await door.person("alice")
        await imposter(door, b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 60, pause=0.1)
        async with alice.get("/tasks", timeout=ClientTimeout(5)) as answer:
            assert answer.status == 504


@pytest.mark.parametrize("bad", [b"a\r\nX-B: 1", b"a\nb", b"a\0b", b"a\rb"])
def test_no_line_of_a_head_is_two(bad):
    for target, header in ((bad, (b"x", b"y")), (b"/", (bad, b"y")), (b"/", (b"x", bad))):
        with pytest.raises(ValueError, match="end of its own"):
            render_head("GET", target, [header], length=None)


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("x-should-retry", "false", True),
        ("x-should-retry", "true", True),
        ("x-should-retry", "maybe", False),
        ("x-accel-buffering", "no", True),
        ("x-accel-buffering", "yes", False),
    ],
)
async def test_what_an_agent_says_of_trying_again_and_of_buffering_passes_in_the_words_there_are(
    door, imposter, name, value, passes
):
    alice = await door.person("alice")
    head = f"HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/json\r\n{name}: {value}\r\ncontent-length: 2\r\n\r\n{{}}"
    await imposter(door, head.encode())
    async with alice.get("/sessions") as answer:
        assert (answer.status, answer.headers.get(name)) == (502, value if passes else None)
