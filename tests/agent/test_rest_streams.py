"""Server-sent events over REST: the answer to a message, the events of a session, going on after a cut."""

import asyncio
import socket
from pathlib import Path

import pytest

from tom.agent import sse
from tom.agent.backlog import MOST_FRAGMENTS, MOST_ITEMS, Backlog
from tom.agent.conversations import Accepted
from tom.agent.feed import Delta, Feed
from tom.agent.following import Following
from tom.agent.sse import PING, kept_alive
from tom.agent.submission import Submission
from tom.conversation.tool import ToolClass
from tom.policy.permissions import VISITOR_SCOPES, Caller
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ASYNC = {"Prefer": "respond-async"}


def said(letters):
    return "".join(one.data["chunk"]["data"] for one in letters if one.name == "chunk")


async def test_a_message_is_streamed_from_its_acceptance_to_its_end(open_rest, llm):
    llm.otherwise(Script.chunks(10, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        body = {"content": "hello", "request_id": "r1"}
        letters = await rest.letters("POST", f"/sessions/{session}/messages", body)
        assert [one.name for one in letters[:2]] == ["accepted", "processing"]
        assert letters[-1].name == "complete"
        assert all(one.data["status"] == one.name and one.data["request_id"] == "r1" for one in letters)
        stored = {str(event.seq): event for event in await cell.store.read(session)}
        assert {one.name for one in letters if one.id} == {"accepted", "complete"}
        assert stored[letters[0].id].type == "message.received"
        assert stored[letters[-1].id].type == "run.completed"
        reply = next(event.content for event in stored.values() if event.type == "model.replied")
        assert said(letters) == reply
        assert letters[-1].data["metadata"]["tokens"] == letters[-1].data["metadata"]["usage"]["total_tokens"] > 0
        again = await rest.letters("POST", f"/sessions/{session}/messages", body)
        assert [one.name for one in again] == ["accepted", "chunk", "complete"]
        assert (said(again), again[-1].data["metadata"]["cached"]) == (reply, True)
        assert len(llm.requests) == 1


async def test_a_stream_is_refused_with_its_own_status_before_and_by_an_event_after_acceptance(open_rest, llm):
    llm.otherwise(Script.fault(Fault.UNAUTHORIZED))
    accept = {"Accept": "text/event-stream"}
    async with open_rest() as (rest, _):
        session = await rest.open()
        path = f"/sessions/{session}/messages"
        assert (await rest.refused("POST", path, {}, headers=accept))[:2] == (422, "validation_error")
        assert (await rest.refused("POST", "/sessions/none/messages", {"content": "x"}, headers=accept))[0] == 404
        letters = await rest.letters("POST", path, {"content": "hello", "request_id": "r1"})
        assert [one.name for one in letters] == ["accepted", "processing", "error"]
        assert letters[-1].data["error"]["code"] == "provider_error"
        assert letters[-1].data["error"]["details"] == {"source": "provider", "retryable": False}
        assert letters[-1].id == str(letters[-1].data["seq"])
        again = await rest.letters("POST", path, {"content": "hello", "request_id": "r1"})
        assert again[-1].data["error"]["details"] == {"source": "provider", "retryable": False, "cached": True}
        llm.otherwise(Script.text("now"))
        retry = f"/sessions/{session}/runs/{letters[0].data['run_id']}/retry"
        assert said(await rest.letters("POST", retry)) == "now"


async def test_who_asks_for_json_first_gets_json(open_rest, llm):
    llm.otherwise(Script.text("ok"))
    async with open_rest() as (rest, _):
        session = await rest.open()
        for accept, kind in (
            ("application/json, text/event-stream", "application/json"),
            ("text/event-stream;q=1, application/json", "text/event-stream"),
            ("*/*", "application/json"),
        ):
            path, body = f"/sessions/{session}/messages", {"content": "hello"}
            async with rest.http.post(path, json=body, headers={"Accept": accept}) as answer:
                await answer.read()
                assert answer.headers["Content-Type"].startswith(kind), accept
                assert answer.headers["X-Request-ID"]


async def test_a_run_that_asks_is_told_and_its_stream_goes_on_when_it_is_answered(open_rest, llm):
    async def send(**arguments):
        return "sent"

    toolbox = MemoryToolbox()
    toolbox.add(send, service="mail", name="send", tool_class=ToolClass.WRITE_EXTERNAL)
    llm.reply(Script.tool_calls(("send", {"to": "bob"})))
    llm.otherwise(Script.text("Done."))
    async with open_rest(toolbox=toolbox, services=["mail"]) as (rest, _):
        session = await rest.open()
        path, body = f"/sessions/{session}/messages", {"content": "write", "request_id": "r1"}
        seen = []
        async with asyncio.timeout(20), rest.stream("POST", path, body) as letters:
            async for letter in letters:
                seen.append(letter)
                chunk = letter.data.get("chunk", {})
                if chunk.get("type") == "waiting":
                    asked = chunk["metadata"]
                    word = {"decision": "allow", "arguments_digest": asked["arguments_digest"]}
                    assert (await rest.ask("POST", f"/approvals/{asked['approval_id']}", word))[0] == 200
        assert said(seen) == "Done."
        assert seen[-1].name == "complete"
        again = await rest.letters("POST", path, body)
        assert "waiting" not in str(again), "what was answered is not asked again"


async def test_events_stay_open_and_go_on_where_the_client_was_cut(open_rest, llm, until):
    llm.otherwise(Script.chunks(20, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        path = f"/sessions/{session}/events"
        _, first = await rest.say(session, "one", headers=ASYNC)
        async with asyncio.timeout(20), rest.stream("GET", path) as letters:
            seen = []
            async for letter in letters:
                seen.append(letter)
                if letter.name == "chunk":
                    break
        assert [one.data["event"]["type"] for one in seen[:2]] == ["conversation.opened", "message.received"]
        last = next(one.id for one in reversed(seen) if one.id)
        await until(lambda: cell.scheduler.active_run(session) is None)
        async with (
            asyncio.timeout(20),
            rest.stream("GET", f"{path}?after=0", headers={"Last-Event-ID": last}) as letters,
        ):
            more = []
            async for letter in letters:
                more.append(letter)
                if letter.data.get("event", {}).get("type") == "run.completed":
                    break
        numbers = [int(one.id) for one in (*seen, *more) if one.name == "event"]
        assert numbers == list(range(1, len(numbers) + 1)), "neither a gap nor a double"
        assert {one.data["event"]["extra"]["run_id"] for one in more} == {first["run_id"]}
        for bad in ("x", "-1", "9" * 20):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": bad}
            assert (await rest.refused("GET", path, headers=headers))[:2] == (422, "validation_error")
        headers = {"Accept": "text/event-stream", "Last-Event-ID": "999"}
        _, _, error = await rest.refused("GET", path, headers=headers)
        assert error["details"]["last_seq"] == numbers[-1]


async def test_what_is_both_read_and_heard_while_a_stream_begins_is_told_once(open_rest, monkeypatch):
    async with open_rest() as (rest, cell):
        session = await rest.open()
        read, calls = cell.store.read, []

        async def busy(conversation_id, **where):
            calls.append(where)
            if len(calls) == 3:  # the stream hears already, and is about to read once more what it may have missed
                await cell.conversations.change(session, {"title": "Meanwhile", "title_by": "person"})
            return await read(conversation_id, **where)

        monkeypatch.setattr(cell.store, "read", busy)
        async with asyncio.timeout(20), rest.stream("GET", f"/sessions/{session}/events") as letters:
            seen = [(await anext(letters)).id for _ in range(2)]
            monkeypatch.undo()
            await cell.conversations.change(session, {"pinned": True})
            seen.append((await anext(letters)).id)
        assert seen == ["1", "2", "3"]


async def test_a_reader_who_comes_late_gets_the_text_so_far(open_rest, llm, until):
    llm.otherwise(Script.chunks(60, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        _, run = await rest.say(session, "one", headers=ASYNC)
        await until(lambda: cell.feed.live(run["run_id"]) and cell.feed.live(run["run_id"]).length > 20)
        async with asyncio.timeout(20), rest.stream("GET", f"/sessions/{session}/events?after=3") as letters:
            seen, text = [], ""
            async for letter in letters:
                seen.append(letter)
                if letter.name == "chunk":
                    assert letter.data["offset"] == len(text)
                    text += letter.data["chunk"]["data"]
                if letter.data.get("event", {}).get("type") == "model.replied":
                    break
        assert text == seen[-1].data["event"]["content"]


async def test_an_open_stream_asks_what_is_open_and_ends_when_the_agent_does(open_rest, llm):
    async def send(**arguments):
        return "sent"

    toolbox = MemoryToolbox()
    toolbox.add(send, service="mail", name="send", tool_class=ToolClass.WRITE_EXTERNAL)
    llm.reply(Script.tool_calls(("send", {"to": "bob"})))
    async with open_rest(toolbox=toolbox, services=["mail"]) as (rest, cell):
        session = await rest.open()
        await rest.say(session, "write")
        async with asyncio.timeout(20), rest.stream("GET", f"/sessions/{session}/events") as letters:
            seen = []
            async for letter in letters:
                seen.append(letter)
                if letter.data.get("chunk", {}).get("type") == "waiting":
                    cell.feed.close()
        assert [one.name for one in seen].count("processing") == 1
        assert (seen[-1].name, seen[-1].data["error"]["code"]) == ("error", "shutting_down")


async def test_a_visitor_is_told_no_model_and_nobody_the_houses_instruction(open_rest, llm):
    llm.otherwise(Script.text("ok"))
    caller = Caller("visitor", "visitor", VISITOR_SCOPES)
    async with open_rest(caller=caller, doors={"initial_prompt": "SECRET", "auth": "public"}) as (rest, _):
        session = await rest.open()
        await rest.say(session, "hello")
        async with asyncio.timeout(20), rest.stream("GET", f"/sessions/{session}/events") as letters:
            async for letter in letters:
                assert "SECRET" not in str(letter.data)
                assert letter.data["event"]["model"] is None
                if letter.data["event"]["type"] == "run.completed":
                    break


async def test_a_head_of_a_stream_ends_at_once(open_rest):
    async with open_rest() as (rest, _):
        session = await rest.open()
        for path in ("", "/events"):
            async with (
                asyncio.timeout(10),
                rest.http.head(f"/sessions/{session}{path}", headers={"Accept": "text/event-stream"}) as answer,
            ):
                assert answer.status == 200
                assert await answer.read() == b""


# --- the parts ---------------------------------------------------------------------------------------------------


async def test_comments_keep_a_silent_stream_alive_and_closing_it_closes_what_it_reads():
    closed = []

    async def silent():
        try:
            yield b"one"
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    pieces = kept_alive(silent(), 0.02)
    assert [await anext(pieces) for _ in range(3)] == [b"one", PING, PING]
    await pieces.aclose()
    assert closed == [True]


async def test_a_slow_reader_of_a_run_gets_the_whole_reply_though_its_fragments_were_dropped(open_cell, llm, until):
    llm.otherwise(Script.chunks(40, 50, delay=0.001))
    async with open_cell() as cell:
        accepted = await cell.conversations.accept(Submission("hello", "r1", "rest"))
        following = Following(cell.conversations, accepted, limit=200)
        await until(lambda: cell.scheduler.active_run(accepted.run.conversation_id) is None)
        items = [item async for item in following.items()]
        following.close()
        deltas = [item for item in items if isinstance(item, Delta)]
        assert [delta.offset for delta in deltas] == [0, len(deltas[0].text)]
        reply = next(e for e in await cell.store.read(accepted.run.conversation_id) if e.type == "model.replied")
        assert "".join(delta.text for delta in deltas) == reply.content
        assert 200 < len(deltas[0].text) < len(reply.content)
        again = Following(cell.conversations, Accepted(accepted.run, 0, repeated=True))
        replayed = [item async for item in again.items()]
        again.close()
        assert again.cached
        assert "".join(item.text for item in replayed if isinstance(item, Delta)) == reply.content


async def test_fragments_that_wait_are_joined(open_cell):
    async with open_cell() as cell:
        backlog = Backlog(cell.feed, "c", interval=0.01)
        for offset, text in ((0, "a"), (1, "b"), (2, "c")):
            cell.feed.publish(Delta("c", "r", "q", 0, 1, offset, text))
        cell.feed.publish(Delta("c", "r", "q", 0, 2, 0, "new"))
        assert [(await backlog.next()).text for _ in range(2)] == ["abc", "new"]
        backlog.close()


async def test_a_restart_within_a_stream_tells_that_the_run_goes_on_and_where_to_read_it(open_rest, llm):
    llm.otherwise(Script.text("Slow but sure.", delay=5))
    async with open_rest() as (rest, cell):
        path = f"/sessions/{await rest.open()}/messages"
        async with rest.stream("POST", path, {"content": "hello"}) as letters:
            while (await anext(letters)).name != "chunk":
                pass
            cell.feed.close()
            last = [letter async for letter in letters][-1]
    assert (last.name, last.data["error"]["code"]) == ("error", "shutting_down")
    after = last.data["error"]["details"]["after"]
    assert last.data["error"]["message"].endswith(f"its run goes on: read the events of the session after {after}.")


async def test_text_and_thoughts_that_take_turns_are_bounded():
    feed = Feed()
    backlog = Backlog(feed, "r1")
    for at in range(MOST_ITEMS):
        for kind in ("text", "thinking"):
            feed.publish(Delta("c1", "r1", "q", 0, 1, at, "x", kind=kind))
    first = await backlog.next()
    assert (first.kind, first.text) == ("text", "x"), "a reader that is slow is not given up for what can be dropped"
    assert len(backlog.take_all()) == MOST_FRAGMENTS - 1


async def test_a_client_that_leaves_while_its_message_is_read_is_no_error(open_rest, until, capsys):
    async with open_rest() as (rest, _):
        session = await rest.open()
        port = rest.http._base_url.port
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /sessions/{session}/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        writer.write(f'{head}Content-Length: 500\r\nX-Request-ID: leaves\r\n\r\n{{"content":'.encode())
        await writer.drain()
        writer.close()
        told = ""

        def written():
            nonlocal told
            told += capsys.readouterr().err
            return "leaves" in told

        await until(written)
        assert (await rest.ask("GET", "/health"))[1]["errors_total"] == 0
    assert "ERROR" not in told


async def test_a_reader_who_takes_nothing_is_cut_off_and_keeps_nothing(open_rest, llm, until, monkeypatch, caplog):
    monkeypatch.setattr(sse, "PATIENCE", 0.1)
    llm.otherwise(Script.text("x" * 150_000))
    async with open_rest() as (rest, _):
        session = await rest.open()
        for _ in range(60):
            await rest.say(session, "hello")
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", port := rest.http._base_url.port))
            local = stalled.getsockname()[1]
            ask = f"GET /sessions/{session}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
            stalled.sendall(ask.encode())
            await until(lambda: _holds(port, local))
            await until(lambda: not _holds(port, local))
        assert (await rest.ask("GET", "/health"))[0] == 200
    assert "without completing" not in caplog.text


def _holds(port, client):
    """Whether the server at ``port`` has an established connection to the port ``client``."""
    ends = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any((here[-4:], there[-4:], state) == (f"{port:04X}", f"{client:04X}", "01") for here, there, state in ends)


async def test_what_follows_an_erased_session_ends_at_once(open_rest, llm, until):
    llm.otherwise(Script.text("ok"))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        await rest.say(session, "hello")
        last = (await cell.conversations.get(session)).last_seq
        waiting = asyncio.ensure_future(rest.http.get(f"/sessions/{session}/events?after={last}&wait=60"))
        async with asyncio.timeout(5), rest.stream("GET", f"/sessions/{session}/events?after={last}") as letters:
            await until(lambda: len(cell.feed._listeners[session]) == 2)
            async with rest.http.delete(f"/sessions/{session}") as gone:
                assert gone.status == 204
            told = [letter async for letter in letters]
            async with await waiting as answer:
                assert answer.status == 404
        assert [(one.name, one.data["error"]["code"]) for one in told] == [("error", "session_not_found")]
        assert not cell.feed._at_erasure, "nobody is waited for any more"


async def test_open_streams_are_as_many_as_sockets_may_be(open_rest, until):
    async with open_rest(max_connections_per_user=2, max_connections=3) as (rest, cell):
        session = await rest.open()
        path = f"/sessions/{session}/events"
        events = {"Accept": "text/event-stream"}
        async with rest.stream("GET", path), rest.stream("GET", path):
            await until(lambda: cell.streams.open == 2, 5)
            for headers, query in ((events, ""), ({}, "?after=1&wait=30")):
                status, answer = await rest.ask("GET", path + query, headers=headers)
                assert (status, answer["error"]) == (429, "rate_limited")
            assert (await rest.ask("GET", path))[0] == 200, "what does not stay open is not counted"
        await until(lambda: cell.streams.open == 0, 5)
        async with rest.http.head(path, headers=events) as answer:
            assert answer.status == 200
        assert cell.streams.open == 0
        async with rest.stream("GET", path):
            pass
