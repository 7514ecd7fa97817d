"""REST through a whole house: a login, the gateway, an agent of one's own; cut, killed, logged out."""

import asyncio
import json
import time

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EVENTS = {"Accept": "text/event-stream"}


async def letters(content):
    """The events of a stream: (name, id, data)."""
    fields = {}
    async for line in content:
        text = line.decode().rstrip("\n")
        if not text and fields:
            yield fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])
            fields = {}
        elif text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            fields[name] = value


async def ask(http, method, path, body=None, **options):
    async with http.request(method, path, json=body, **options) as answer:
        text = await answer.text()
        return answer, json.loads(text) if text.startswith("{") else text


async def test_a_session_from_its_opening_to_its_end_cut_in_between(open_house, llm):
    llm.otherwise(Script.chunks(60, 10, delay=0.02))
    house = await open_house()
    async with house.person("alice") as alice, asyncio.timeout(60):
        http = alice.http
        opened, session = await ask(http, "POST", "/sessions", {"metadata": {"shop": 1}})
        assert opened.status == 201
        path = opened.headers["Location"]
        assert path == f"/sessions/{session['id']}"
        body = {"content": "tell me", "request_id": "r1"}
        seen, last = [], ""
        began = time.monotonic()
        async with http.post(f"{path}/messages", json=body, headers=EVENTS) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert stream.headers["X-Request-ID"]
            async for name, number, data in letters(stream.content):
                seen.append(name)
                last = number or last
                if name == "chunk" and data["offset"] > 0:
                    break  # and with it the connection
        assert seen[:3] == ["accepted", "processing", "chunk"]
        assert time.monotonic() - began < 1.5, "pieces come as they are said"
        events, text = [], ""
        async with http.get(f"{path}/events", headers={**EVENTS, "Last-Event-ID": last}) as stream:
            async for name, number, data in letters(stream.content):
                if name == "event":
                    events.append((int(number), data["event"]))
                elif name == "chunk":
                    assert data["offset"] == len(text), "neither a gap nor a double"
                    text += data["chunk"]["data"]
                if name == "event" and data["event"]["type"] == "run.completed":
                    break
        assert [number for number, _ in events] == list(range(int(last) + 1, int(last) + 1 + len(events)))
        reply = next(event for _, event in events if event["type"] == "model.replied")
        assert text == reply["content"]
        _, again = await ask(http, "POST", f"{path}/messages", body)
        assert (again["message"]["content"], again["message"]["metadata"]["cached"]) == (text, True)
        assert llm.calls == 1


async def test_what_the_gateway_passes_on_and_what_others_are_told(open_house, llm):
    llm.otherwise(Script.text("Here you are."))
    house = await open_house()
    async with house.person("alice") as alice, asyncio.timeout(60):
        http = alice.http
        _, session = await ask(http, "POST", "/sessions")
        path, text = f"/sessions/{session['id']}", "Here you are."
        await ask(http, "POST", f"{path}/messages", {"content": "tell me"})
        answer, words = await ask(http, "GET", f"{path}/export?format=markdown")
        assert answer.headers["Content-Type"].startswith("text/markdown")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="tell-me.md"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert text in words
        _, whole = await ask(http, "GET", f"{path}/export")
        answer, copied = await ask(http, "POST", "/sessions/import", whole)
        assert (answer.status, copied["metadata"]["imported_from"]) == (201, session["id"])
        _, found = await ask(http, "GET", "/sessions", params={"q": "TELL me"})
        assert {one["id"] for one in found["sessions"]} == {session["id"], copied["id"]}
        async with http.head(path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        answer, later = await ask(
            http, "POST", f"{path}/messages", {"content": "x"}, headers={"Prefer": "respond-async"}
        )
        assert (answer.status, answer.headers["Preference-Applied"], later["seq"] > 0) == (202, "respond-async", True)
        async with house.person("bob") as bob:
            for method, rest in (
                ("GET", ""),
                ("DELETE", ""),
                ("GET", "/events"),
                ("GET", "/export"),
                ("POST", "/stop"),
            ):
                answer, told = await ask(bob.http, method, path + rest)
                nobody, same = await ask(bob.http, method, "/sessions/nobodys" + rest)
                assert answer.status == nobody.status == 404
                assert told["error"] == same["error"]
        answer, _ = await ask(http, "DELETE", path)
        assert answer.status == 204
        answer, told = await ask(http, "DELETE", path)
        assert (answer.status, told["error"]["code"]) == (404, "session_not_found")


@pytest.mark.promise("P2")
async def test_killed_during_a_message_the_same_request_is_answered_once(open_house, llm, until):
    llm.reply(Script.chunks(200, 22, delay=0.02), Script.text("the whole answer"))
    house = await open_house()
    async with house.person("alice") as alice, asyncio.timeout(60):
        _, session = await ask(alice.http, "POST", "/sessions")
        path, body = f"/sessions/{session['id']}/messages", {"content": "tell me", "request_id": "r1"}
        first = asyncio.ensure_future(ask(alice.http, "POST", path, body))
        await until(lambda: llm.calls)
        await asyncio.sleep(0)
        await house.kill_agent("alice")
        answer, told = await first
        assert (answer.status, told["error"]["code"]) == (502, "agent_failed")
        answer, again = await ask(alice.http, "POST", path, body)
        while answer.status in {502, 503} and again["error"]["code"].startswith(
            "agent_"
        ):  # as a client does, until it is back
            answer, again = await ask(alice.http, "POST", path, body)
        assert answer.status == 200, again
        assert again["message"]["content"] == "the whole answer"
        _, page = await ask(alice.http, "GET", f"/sessions/{session['id']}/events")
        kinds = [event["type"] for event in page["events"]]
        assert [event["seq"] for event in page["events"]] == list(range(1, len(kinds) + 1))
        assert kinds.count("message.received") == kinds.count("model.replied") == kinds.count("run.completed") == 1
        assert llm.calls == 2


async def test_a_stream_ends_with_its_login_and_its_run_goes_on(open_house, llm):
    llm.otherwise(Script.chunks(100, 10, delay=0.02))
    house = await open_house()
    async with house.person("alice") as alice, asyncio.timeout(60):
        _, session = await ask(alice.http, "POST", "/sessions")
        path = f"/sessions/{session['id']}"
        async with alice.http.post(
            f"{path}/messages", json={"content": "x", "request_id": "r1"}, headers=EVENTS
        ) as stream:
            ended = None
            async for name, _, data in letters(stream.content):
                told = (name, data)
                if name == "chunk" and ended is None:
                    ended = time.monotonic()
                    async with alice.http.post("/logout") as answer:
                        assert answer.status < 400
            assert (told[0], told[1]["error"]["code"]) == ("error", "authentication_required")
            assert (told[1]["status"], told[1]["request_id"]) == ("error", "r1")
            assert told[1]["chunk"] == {"error": told[1]["error"]["message"]}
            assert time.monotonic() - ended < 1.0
        await alice.log_in()
        _, body = await ask(alice.http, "POST", f"{path}/messages", {"content": "x", "request_id": "r1"})
        assert body["message"]["metadata"]["finish_reason"] == "stop"
        assert llm.calls == 1
