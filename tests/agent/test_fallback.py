"""One model fails and another answers: announced, recorded, paid for, never spliced (F10)."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tom.agent.aside import ask_aside
from tom.agent.bootstrap import build_cell
from tom.agent.outcome import process_body
from tom.config.agent import AgentSettings, ChatSettings, LlmEntry, Price
from tom.config.secret import Secret
from tom.conversation.event import EventType
from tom.conversation.message import user
from tom.errors import ProviderError
from tom.services.memory import MemoryToolbox
from tom.store.eventstore import RunFilter
from tom.store.memory import MemoryEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Fault, Script, SimulatedLLM

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P9"), pytest.mark.slow]

CHEAP, DEAR = Price(input=1.0, output=2.0), Price(input=10.0, output=20.0)
DIALECTS = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
"""What the second LLM speaks; the first speaks the other."""


@pytest.fixture
def first(llm):
    return llm


@pytest.fixture
def second():
    with SimulatedLLM() as endpoint:
        endpoint.otherwise(Script.text("The second model answers.", usage=(100, 10)))
        yield endpoint


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def waits():
    """What was waited for, in seconds."""
    return []


@pytest.fixture
async def patience(clock, waits):
    """Moves the clock whenever somebody waits for less than a minute: retries, not deadlines."""

    async def pass_time() -> None:
        while True:
            due = clock.next_due
            if due is not None and due < 60:
                waits.append(due)
                clock.advance(due)
            await asyncio.sleep(0.001)

    passing = asyncio.ensure_future(pass_time())
    yield
    passing.cancel()
    await asyncio.wait([passing])


@pytest.fixture
def open_pair(tmp_path, first, second, clock, patience):
    """``async with open_pair(dialect, **fields of the entries) as cell``: an agent with two LLMs."""

    def entry(name, url, dialect, price, **fields):
        provider = "anthropic" if dialect == "anthropic" else "compatible"
        return LlmEntry(
            name=name, provider=provider, dialect=dialect, base_url=url, key=Secret(""),
            models=tuple(f"{name}-{level}" for level in range(3)), timeout=0.4, connect_timeout=1, price=(price,) * 3, **fields,
        )  # fmt: skip

    @asynccontextmanager
    async def open_one(dialect="openai", *, alone=False, **fields):
        other = "anthropic" if dialect == "openai" else "openai"
        llms = {
            "one": entry("one", first.url, other, CHEAP, **fields),
            "two": entry("two", second.url, dialect, DEAR),
        }
        settings = AgentSettings(
            user="alice", home=tmp_path, llm="one", llms=llms, llm_fallbacks=() if alone else ("one", "two"),
            chat=ChatSettings(context_max_tokens=32000, titles=False),
        )  # fmt: skip
        store = MemoryEventStore(clock=clock)
        toolbox = MemoryToolbox()
        cell = build_cell(settings, store, clock, toolbox=toolbox, library=toolbox)
        ready, stopped = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(cell.scheduler.serve(ready, stopped))
        await ready.wait()
        try:
            yield cell
        finally:
            await cell.scheduler.drain(0, 2)
            stopped.set()
            await serving
            await cell.models.close()

    return open_one


async def asked(cell, client, text="Hello", request_id="q", **payload):
    """Ask, wait for the end; the frame that ended it and the events of the conversation."""
    await client.do("chat", request_id, text=text, conversation_id="c", **payload)
    end = await client.end_of(request_id)
    return end, await cell.store.read("c", after=0, limit=1000)


def kinds(events):
    wanted = {EventType.MODEL_FAILED, EventType.LLM_FELL_BACK, EventType.MODEL_REPLIED, EventType.RUN_FAILED}
    return [str(event.type) for event in events if event.type in wanted]


RETRIED = ("refuse", "reset", "rate_limited_silently", "server_error", "silence", "stall", "cut", "bad_json", "bad_sse")


@DIALECTS
@pytest.mark.parametrize("fault", [Fault(name) for name in RETRIED], ids=str)
async def test_a_failing_model_is_asked_three_times_then_another_answers(
    open_pair, connect, first, second, waits, fault, dialect
):
    first.otherwise(Script.fault(fault, seconds=0))
    async with open_pair(dialect) as cell:
        client = connect(cell)
        end, events = await asked(cell, client)
    assert end["status"] == "complete"
    assert kinds(events) == ["model.failed"] * 3 + ["llm.fell_back", "model.replied"]
    fell = next(event for event in events if event.type == EventType.LLM_FELL_BACK)
    assert (fell.extra["from"], fell.extra["to"], fell.extra["attempt"]) == ("one", "two", 4)
    replied = events[-2]
    assert (replied.content, replied.model, replied.extra["attempt"]) == ("The second model answers.", "two-1", 4)
    assert replied.usage.cost == 100 * 10 + 10 * 20
    short = [wait for wait in waits if wait > 0.05]
    assert 0.24 <= short[0] <= 0.36
    assert 0.48 <= short[1] <= 0.72


@DIALECTS
async def test_what_passes_by_itself_needs_nobody_else(open_pair, connect, first, second, dialect):
    first.otherwise(Script.fault(Fault.FLAPPING, times=2, text="I am here."))
    async with open_pair(dialect) as cell:
        client = connect(cell)
        _, events = await asked(cell, client)
        assert events[-2].content == "I am here."
    assert kinds(events) == ["model.failed"] * 2 + ["model.replied"]
    assert (first.calls, second.calls) == (3, 0)


@DIALECTS
async def test_text_of_two_models_is_never_spliced(open_pair, connect, first, dialect):
    first.otherwise(Script.fault(Fault.CUT, text="The first begins to", after=2))
    async with open_pair(dialect) as cell:
        client = connect(cell)
        _, events = await asked(cell, client)
    said: dict[int, str] = {}
    for frame in client.frames:
        if frame["status"] == "chunk":
            said[frame["attempt"]] = said.get(frame["attempt"], "") + frame["chunk"]["data"]
    assert said == {1: "The first ", 2: "The first ", 3: "The first ", 4: "The second model answers."}
    marks = [f["chunk"]["metadata"]["attempt"] for f in client.frames if f.get("chunk", {}).get("type") == "attempt"]
    assert marks == [2, 3, 4], "each is announced before its text"
    assert [event.content for event in events if event.type == EventType.MODEL_REPLIED] == ["The second model answers."]


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.NOT_FOUND, Fault.HUGE], ids=str)
async def test_what_does_not_pass_by_waiting_is_not_tried_again(open_pair, connect, first, fault):
    first.otherwise(Script.fault(fault))
    async with open_pair() as cell:
        end, events = await asked(cell, connect(cell))
        assert end["status"] == "complete"
        assert kinds(events) == ["model.failed", "llm.fell_back", "model.replied"]
        assert first.calls == 1
        if fault is not Fault.HUGE:
            await asked(cell, connect(cell), request_id="q2")
            assert first.calls == 2, "it is one failure: a key may have been put right"


async def test_a_faulty_request_is_nobody_else_s_business(open_pair, connect, first, second):
    first.otherwise(Script.fault(Fault.BAD_REQUEST))
    async with open_pair() as cell:
        end, events = await asked(cell, connect(cell))
    assert end["status"] == "error"
    assert (first.calls, second.calls) == (1, 0)
    assert events[-1].extra["code"] == "provider_error"
    assert "Hello" in [event.content for event in events], "the message is kept"


@pytest.mark.parametrize(("asked_for", "calls", "waited"), [("7", 3, True), ("31", 1, False)])
async def test_a_provider_may_ask_for_half_a_minute_and_no_more(
    open_pair, connect, first, waits, asked_for, calls, waited
):
    first.otherwise(Script.fault(Fault.RATE_LIMITED, retry_after=asked_for))
    async with open_pair() as cell:
        end, _ = await asked(cell, connect(cell))
    assert end["status"] == "complete"
    assert first.calls == calls
    assert (7.0 in [round(wait, 3) for wait in waits]) == waited


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (Script.fault(Fault.EMPTY), "provider_empty"),
        (Script(finish="length"), "provider_empty"),
        (Script(finish="content_filter"), "provider_error"),
    ],
    ids=["empty", "length", "declined"],
)
@DIALECTS
async def test_no_answer_at_all_is_tried_once_more_and_then_told(open_pair, connect, first, script, code, dialect):
    first.otherwise(script)
    async with open_pair(dialect, alone=True) as cell:
        end, events = await asked(cell, connect(cell))
    assert end["status"] == "error"
    assert first.calls == 2
    assert kinds(events) == ["model.failed", "model.failed", "run.failed"]
    assert events[-1].extra["code"] == code
    failed = [event for event in events if event.type == EventType.MODEL_FAILED]
    assert all(event.usage.prompt_tokens == 11 and event.usage.cost >= 11 for event in failed), "it was paid for"
    assert events[-1].usage.prompt_tokens == 22


async def test_a_model_that_declines_is_not_replaced_by_one_that_does_not(open_pair, connect, first, second):
    first.otherwise(Script(finish="content_filter"))
    async with open_pair() as cell:
        end, _ = await asked(cell, connect(cell))
    assert (end["status"], second.calls) == ("error", 0)


async def test_an_open_breaker_skips_a_model_and_closes_when_it_answers_again(
    open_pair, connect, first, second, clock, log
):
    first.otherwise(Script.fault(Fault.SERVER_ERROR))
    async with open_pair() as cell:
        client = connect(cell)
        await asked(cell, client, request_id="q1")
        await asked(cell, client, request_id="q2")
        assert first.calls == 5, "the fifth failure opens it"
        await asked(cell, client, request_id="q3")
        assert (first.calls, second.calls) == (5, 3)
        fell = [line for line in log() if line.get("event") == "provider_fallback_used"]
        assert [line["code"] for line in fell] == ["provider_error", "provider_error", "provider_left_out"]
        events = await cell.store.read("c", after=0, limit=1000)
        told = [event.extra for event in events if event.type == EventType.LLM_FELL_BACK][-1]
        assert (told["from"], told["to"], told["attempt"], told["reason"]) == ("one", "two", 1, "provider_left_out")
        first.otherwise(Script.text("I am back."))
        clock.advance(31)
        _, events = await asked(cell, client, request_id="q4")
        assert events[-2].content == "I am back."
        assert second.calls == 3


async def test_when_all_fail_the_last_error_is_told_and_the_message_is_kept(open_pair, connect, first, second):
    first.otherwise(Script.fault(Fault.SERVER_ERROR))
    second.otherwise(Script.fault(Fault.UNAUTHORIZED))
    async with open_pair() as cell:
        end, events = await asked(cell, connect(cell))
    assert end["status"] == "error"
    assert events[-1].extra["code"] == "provider_error"
    assert (first.calls, second.calls) == (3, 1)


async def test_the_person_s_wishes_reach_the_model_and_what_it_cannot_do_is_named(open_pair, connect, first):
    async with open_pair("anthropic", max_tokens=50) as cell:
        options = {"temperature": 0.5, "thinking": "high", "max_tokens": 30, "model": "else"}
        end, events = await asked(cell, connect(cell), options=options)
    assert end["status"] == "complete", end
    body = first.requests[-1].json
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("else", 0.5, 30)
    assert "reasoning_effort" not in body
    assert events[-2].extra["dropped_options"] == ["thinking"]


async def test_a_reply_that_is_stopped_keeps_what_it_has_cost(open_pair, connect, first):
    first.otherwise(Script.chunks(1000, delay=0.01))
    async with open_pair() as cell:
        client = connect(cell)
        await client.do("chat", "q", text="Go on and on", conversation_id="c")
        accepted = await client.first(lambda frame: frame["status"] == "accepted")
        await client.first(lambda frame: frame["status"] == "chunk")
        await client.do("stop", "s", conversation_id="c", run_id=accepted["run_id"])
        await client.first(lambda frame: frame["status"] in {"complete", "cancelled", "error"})
        events = await cell.store.read("c", after=0, limit=100)
    (kept,) = [event for event in events if event.type == EventType.MODEL_REPLIED]
    assert kept.extra["partial"] is True
    assert kept.usage.prompt_tokens > 0
    assert kept.usage.cost == kept.usage.prompt_tokens + 2 * kept.usage.completion_tokens


async def test_without_any_model_the_message_is_kept_and_the_person_told_whom_to_ask(tmp_path, connect, clock):
    settings = AgentSettings(user="alice", home=tmp_path, llm="openrouter")
    cell = build_cell(settings, MemoryEventStore(clock=clock), clock, toolbox=(tools := MemoryToolbox()), library=tools)
    ready, stopped = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(cell.scheduler.serve(ready, stopped))
    await ready.wait()
    end, events = await asked(cell, connect(cell))
    (run,) = await cell.store.runs(RunFilter())
    body = await process_body(cell, run)
    await cell.scheduler.drain(0, 2)
    stopped.set()
    await serving
    assert "No chat providers are configured." in str(end)
    assert body["message"] == "No LLM is configured. Ask your administrator."
    assert "Hello" in [event.content for event in events]


# --- asides


async def test_an_aside_falls_back_and_counts_what_failed(open_pair, first, second, clock):
    first.otherwise(Script.fault(Fault.EMPTY))
    async with open_pair() as cell:
        reply = await ask_aside(cell.models, [user("Title?")], level=0, timeout=5, clock=clock)
    assert (reply.text, reply.model) == ("The second model answers.", "two-0")
    assert reply.usage.prompt_tokens == 100 + 2 * 11
    assert reply.usage.cost == 100 * 10 + 10 * 20 + 2 * 11
    assert (first.calls, second.calls) == (2, 1)


async def test_an_aside_ends_in_time_or_with_the_last_error(open_pair, first, clock):
    async with open_pair(alone=True) as cell:
        first.otherwise(Script.fault(Fault.SILENCE))
        with pytest.raises(TimeoutError):
            await ask_aside(cell.models, [user("x")], level=0, timeout=0.2, clock=clock)
        first.otherwise(Script.fault(Fault.BAD_REQUEST))
        with pytest.raises(ProviderError):
            await ask_aside(cell.models, [user("x")], level=0, timeout=5, clock=clock)


class Purse:
    """A budget that keeps what it is told."""

    def __init__(self):
        self.told = []

    async def reserve(self, candidate, request, spent):
        self.told.append(("reserve", candidate.llm, request.model, spent.prompt_tokens))
        return len(self.told)

    def settle(self, reservation, usage):
        self.told.append(("settle", reservation, usage.prompt_tokens, usage.cost))
        return usage


async def test_each_attempt_is_set_aside_before_and_settled_after(open_pair, first, clock):
    first.otherwise(Script.fault(Fault.EMPTY))
    purse = Purse()
    async with open_pair() as cell:
        await ask_aside(cell.models, [user("x")], level=2, timeout=5, clock=clock, budget=purse)
    assert purse.told == [
        ("reserve", "one", "one-2", 0), ("settle", 1, 11, 11),
        ("reserve", "one", "one-2", 11), ("settle", 3, 11, 11),
        ("reserve", "two", "two-2", 22), ("settle", 5, 100, 1200),
    ]  # fmt: skip
