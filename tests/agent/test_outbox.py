"""One reader's queue: order kept, deltas joined, a slow reader bounded and closed."""

import asyncio
import json

import pytest

from tom.agent import outbox as module
from tom.agent.feed import Delta
from tom.agent.outbox import Outbox, ReaderTooSlow

pytestmark = pytest.mark.anyio


def delta(offset, text, *, attempt=1, kind="text", run="r"):
    return Delta("c", run, "q", 0, attempt, offset, text, kind)


class Reader:
    """Takes frames; may be made to stand still."""

    def __init__(self):
        self.frames = []
        self.moving = asyncio.Event()
        self.moving.set()

    async def take(self, text):
        await self.moving.wait()
        self.frames.append(json.loads(text))

    @property
    def said(self):
        return "".join(frame["chunk"]["data"] for frame in self.frames if frame["status"] == "chunk")


async def test_the_first_delta_goes_out_at_once_and_the_following_are_joined(until):
    reader, outbox = Reader(), Outbox(10_000)
    sending = asyncio.ensure_future(outbox.send_to(reader.take))
    outbox.put_delta(delta(0, "a"))
    await until(lambda: reader.said == "a")
    for position, letter in enumerate("bcdefgh", start=1):
        outbox.put_delta(delta(position, letter))
    await until(lambda: reader.said == "abcdefgh")
    assert len(reader.frames) <= 3
    assert reader.frames[1]["offset"] == 1
    sending.cancel()


async def test_the_first_delta_of_the_next_reply_does_not_wait_for_the_interval_of_the_last(until, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 3600.0)
    reader, outbox = Reader(), Outbox(10_000)
    sending = asyncio.ensure_future(outbox.send_to(reader.take))
    outbox.put_delta(delta(0, "a"))
    await until(lambda: reader.said == "a")
    outbox.put_delta(delta(0, "b", run="s"))
    await until(lambda: reader.said == "ab")
    sending.cancel()


async def test_a_frame_after_a_delta_does_not_wait_for_the_interval(until):
    reader, outbox = Reader(), Outbox(10_000)
    sending = asyncio.ensure_future(outbox.send_to(reader.take))
    outbox.put_delta(delta(0, "a"))
    await until(lambda: reader.said == "a")
    outbox.put_delta(delta(1, "b"))
    outbox.put('{"status":"complete"}')
    await until(lambda: len(reader.frames) == 3)
    assert [frame["status"] for frame in reader.frames] == ["chunk", "chunk", "complete"]
    sending.cancel()


async def test_deltas_of_another_attempt_kind_or_run_are_never_joined(until):
    reader, outbox = Reader(), Outbox(10_000)
    for item in (delta(0, "a"), delta(1, "b", attempt=2), delta(2, "c", kind="thinking"), delta(3, "d", run="s")):
        outbox.put_delta(item)
    sending = asyncio.ensure_future(outbox.send_to(reader.take))
    await until(lambda: len(reader.frames) == 4)
    sending.cancel()


async def test_above_the_limit_deltas_are_thinned_until_the_next_attempt_and_frames_are_kept(until):
    reader, outbox = Reader(), Outbox(10)
    outbox.put_delta(delta(0, "0123456789ab"))
    outbox.put_delta(delta(12, "lost"))
    outbox.put('{"status":"event"}')
    outbox.put_delta(delta(16, "lost too"))
    assert not outbox._room.is_set()
    sending = asyncio.ensure_future(outbox.send_to(reader.take))
    await asyncio.wait_for(outbox.room(), 5)
    outbox.put_delta(delta(0, "again", attempt=2))
    await until(lambda: reader.said == "0123456789abagain")
    assert {"status": "event"} in reader.frames
    sending.cancel()


async def test_a_reader_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    reader, outbox = Reader(), Outbox(10)
    reader.moving.clear()
    outbox.put("{}")
    with pytest.raises(ReaderTooSlow):
        await asyncio.wait_for(outbox.send_to(reader.take), 5)
