"""What every answer of the REST door has, and what is said of requests that are none of it."""

import io

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

JSON = {"Content-Type": "application/json"}


NOWHERE = [
    ("GET", "/nowhere", 404, "not_found", None),
    ("POST", "/sessionss", 404, "not_found", None),
    ("GET", "/sessions/", 404, "not_found", None),
    ("PUT", "/sessions", 405, "method_not_allowed", "GET, HEAD, POST"),
    ("PUT", "/sessions/x", 405, "method_not_allowed", "DELETE, GET, HEAD, PATCH"),
    ("GET", "/sessions/x/messages", 405, "method_not_allowed", "POST"),
    ("DELETE", "/sessions/x/events", 405, "method_not_allowed", "GET, HEAD"),
    ("OPTIONS", "/sessions/x/stop", 405, "method_not_allowed", "POST"),
    ("PATCH", "/approvals/x", 405, "method_not_allowed", "POST"),
]


async def test_what_there_is_not_is_said_in_the_words_of_the_door(open_rest):
    async with open_rest() as (rest, _):
        for method, path, status, code, allow in NOWHERE:
            got, named, _ = await rest.refused(method, path)
            assert (got, named, rest.headers.get("Allow")) == (status, code, allow), (method, path)
            assert rest.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sessions"), ("PATCH", "/sessions/x"), ("POST", "/sessions/x/messages"), ("POST", "/sessions/x/stop"),
        ("POST", "/sessions/x/runs/r/retry"), ("POST", "/sessions/import"), ("POST", "/approvals/x"),
        ("POST", "/elicitations/x"),
    ],
)  # fmt: skip
async def test_bodies_are_json_and_bounded(open_rest, method, path):
    async with open_rest() as (rest, _):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
            refused = await rest.refused(method, path, data=b"{}", headers={"Content-Type": kind})
            assert refused[:2] == (415, "unsupported_media_type"), kind
        most = {"/sessions/x/messages": 24, "/sessions/import": 24}.get(path, 1) * 1024 * 1024
        if path.endswith(("/stop", "/retry")):
            most = 64 * 1024
        declared = {**JSON, "Content-Length": str(most + 1)}
        async with rest.http.request(method, path, data=io.BytesIO(b"x" * (most + 1)), headers=declared) as answer:
            assert answer.status == 413
            assert (await answer.json())["error"]["code"] == "payload_too_large"

        async def endless():
            for _ in range(most // 65_536 + 2):
                yield b" " * 65_536

        async with rest.http.request(method, path, data=endless(), headers=JSON) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (413, "payload_too_large")
        for body in (b"{", b"[]", b"5", b'{"a":1,"a":2}', b"\xff"):
            refused = await rest.refused(method, path, data=body, headers=JSON)
            assert refused[:2] == (400, "invalid_json"), body


async def test_every_answer_has_the_id_of_its_request(open_rest, llm):
    llm.otherwise(Script.text("ok"))
    async with open_rest() as (rest, _):
        session = await rest.open()
        for method, path, body in (
            ("POST", "/sessions", None), ("GET", "/sessions", None), ("GET", f"/sessions/{session}", None),
            ("POST", f"/sessions/{session}/messages", {"content": "x"}), ("GET", f"/sessions/{session}/events", None),
            ("GET", f"/sessions/{session}/export", None), ("PUT", "/sessions", None), ("GET", "/nowhere", None),
            ("POST", f"/sessions/{session}/messages", {}), ("DELETE", f"/sessions/{session}", None),
        ):  # fmt: skip
            async with rest.http.request(method, path, json=body, headers={"X-Request-ID": "my.own-id_1"}) as answer:
                assert answer.headers.getall("X-Request-ID") == ["my.own-id_1"], path
            async with rest.http.request(method, path, json=body, headers={"X-Request-ID": "not mine!"}) as answer:
                assert len(answer.headers["X-Request-ID"]) == 26


async def test_a_defect_is_told_with_its_time_and_nothing_else(open_rest, monkeypatch):
    async with open_rest() as (rest, cell):

        async def broken(*_args, **_more):
            message = "secret words"
            raise RuntimeError(message)

        monkeypatch.setattr(cell.conversations, "open", broken)
        status, code, error = await rest.refused("POST", "/sessions")
        assert (status, code) == (500, "internal_error")
        assert error["details"]["timestamp"].endswith("Z")
        assert "secret" not in str(error)


async def test_a_full_disk_is_told_and_stores_nothing(open_rest, monkeypatch):
    from tom.errors import StorageFull, StorageUnavailable

    async with open_rest() as (rest, cell):
        session = await rest.open()
        for error, status, code in (
            (StorageFull, 507, "storage_full"),
            (StorageUnavailable, 503, "storage_unavailable"),
        ):

            async def failing(_events, error=error):
                raise error

            with monkeypatch.context() as patched:
                patched.setattr(cell.conversations.store, "append", failing)
                for path, body in (("/sessions", None), (f"/sessions/{session}/messages", {"content": "x"})):
                    assert (await rest.refused("POST", path, body))[:2] == (status, code)
        assert (await rest.ask("GET", f"/sessions/{session}"))[0] == 200


async def test_events_are_asked_for_within_bounds(open_rest):
    async with open_rest() as (rest, _):
        session = await rest.open()
        for query in ("after=-1", "after=x", "limit=0", "limit=2001", "wait=61", "wait=-1", "after=99"):
            refused = await rest.refused("GET", f"/sessions/{session}/events?{query}")
            assert refused[:2] == (422, "validation_error"), query


async def test_events_come_with_all_their_columns(open_rest, llm):
    llm.otherwise(Script.text("ok"))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        await rest.say(session, "hello")
        _, page = await rest.ask("GET", f"/sessions/{session}/events?limit=2")
        assert set(page) == {"session_id", "events", "first_seq", "last_seq", "next_after", "epoch"}
        assert (page["first_seq"], page["next_after"], page["epoch"]) == (1, 2, cell.store.epoch)
        assert set(page["events"][0]) == {
            "id", "conversation_id", "seq", "timestamp", "type", "role", "content", "tool_calls", "tool_call_id", "model",
            "usage", "extra", "token_count", "request_id",
        }  # fmt: skip
        _, rest_of = await rest.ask("GET", f"/sessions/{session}/events?after=2")
        assert rest_of["events"][0]["seq"] == 3
        assert rest_of["next_after"] == rest_of["last_seq"]
