"""What a call has cost that never came to its end, and what was shown of it, is kept: in the day's limit as in the ledger."""

import asyncio

import pytest

from tom.agent.budget import paid
from tom.agent.limits import Day, RunLimits
from tom.agent.outcome import process_body
from tom.agent.submission import Submission
from tom.config.agent import AgentSettings, LimitSettings, LlmEntry, Price
from tom.config.secret import Secret
from tom.conversation import message as make
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING, estimate_tokens
from tom.errors import QuotaExceeded
from tom.llm.levels import Candidate, Models
from tom.llm.provider import ModelRequest
from tom.llm.scripted import ScriptedModel
from tom.store.eventstore import RunFilter
from tom.store.memory import MemoryEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PRICE = Price(input=1.0, output=10.0)


async def used(cell):
    """The ledger of the day, and what the limits hold against it."""
    ((day,), memory) = (await cell.store.spent(since="2000-01-01"), cell.upkeep._limits()._day.used)
    return day.usage, memory


def kinds(events):
    return [str(event.type) for event in events if event.type.startswith(("model.", "run."))]


def tokens(usage):
    return usage.prompt_tokens, usage.completion_tokens


@pytest.mark.promise("P19")
async def test_a_reply_that_was_stopped_costs_what_was_written_of_it(open_cell, connect, llm):
    llm.otherwise(Script.text("word " * 500, thinking="let me think " * 20, delay=0.01))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.first(lambda frame: frame["status"] == "chunk" and frame["offset"] > 20)
        await client.do("stop", "s1", conversation_id="c1")
        await client.end_of("q1")
        ledger, memory = await used(cell)
        replied, ended = (await cell.store.read("c1"))[-2:]
    assert (replied.extra["partial"], replied.content) == (True, client.said("q1"))
    assert ledger.completion_tokens >= estimate_tokens(replied.content) + estimate_tokens("let me think " * 18)
    assert tokens(ledger) == tokens(memory) == tokens(ended.usage)


@pytest.mark.promise("P19")
async def test_a_reply_stopped_before_its_first_word_costs_its_prompt(open_cell, connect, llm, until):
    llm.otherwise(Script.fault(Fault.SILENCE, seconds=5))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await until(lambda: llm.calls == 1)
        await client.do("stop", "s1", conversation_id="c1")
        await client.end_of("q1")
        ledger, memory = await used(cell)
        events = await cell.store.read("c1")
    assert kinds(events) == ["run.started", "model.failed", "run.cancelled"]
    assert tokens(ledger) == tokens(memory) == tokens(events[-1].usage)
    assert ledger.prompt_tokens > 0


@pytest.mark.promise("P19")
async def test_calls_that_are_given_up_use_up_the_day(tmp_path):
    entry = LlmEntry(name="a", provider="x", base_url="", key=Secret(""), models=("m", "m", "m"), price=(PRICE,) * 3)
    settings = AgentSettings(user="bob", home=tmp_path, llm="a", llms={"a": entry})
    day = Day(MemoryEventStore(), settings, ManualClock())
    candidate = Candidate("a", ScriptedModel("UTC"), "m", price=PRICE)
    request = ModelRequest("m", (make.user("write a novel", 5),), options={"max_tokens": 60_000})
    begun = asyncio.Event()

    async def listen():
        begun.set()
        await asyncio.Event().wait()

    async def give_up():
        begun.clear()
        limits = RunLimits(settings, day)
        call = asyncio.ensure_future(paid(limits, candidate, request, NOTHING, listen, str, all_seen=False))
        opened = asyncio.ensure_future(begun.wait())
        await asyncio.wait([call, opened], return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        if call.done():
            return call.result()
        call.cancel()
        await asyncio.wait([call])
        return None

    with pytest.raises(QuotaExceeded):
        for _ in range(30):
            await give_up()
    assert day.used.cost > 9_000_000


@pytest.mark.promise("P19")
async def test_a_run_that_took_too_long_keeps_what_was_shown_and_what_it_cost(open_cell, connect, llm):
    llm.otherwise(Script.chunks(1000, 5, delay=0.02))
    async with open_cell(run_deadline_seconds=0.5) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        end = await client.end_of("q1")
        ledger, memory = await used(cell)
        events = await cell.store.read("c1")
        (row,) = await cell.store.runs(RunFilter())
    assert end["error"]["code"] == "deadline"
    assert kinds(events) == ["run.started", "model.replied", "run.failed"]
    assert (events[-2].extra["partial"], events[-2].content) == (True, client.said("q1"))
    assert client.said("q1")
    assert row.state is RunState.FAILED
    assert tokens(ledger) == tokens(memory) == tokens(events[-1].usage) == tokens(events[-2].usage)


@pytest.mark.promise("P1")
async def test_what_was_shown_before_the_provider_cut_is_kept_and_not_taken_for_an_answer(open_cell, connect, llm):
    llm.otherwise(Script.fault(Fault.CUT, text="this is all that came before the cut", after=4))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        end = await client.end_of("q1")
        ledger, memory = await used(cell)
        events = await cell.store.read("c1")
        llm.otherwise(Script.text("a whole answer"))
        await client.do("retry", "q2", conversation_id="c1", run_id=end["run_id"])
        assert (await client.end_of("q2"))["status"] == "complete"
    failed = [event for event in events if event.type == "model.failed"]
    assert kinds(events)[-3:] == ["model.failed", "model.replied", "run.failed"]
    replied = events[-2]
    assert replied.extra["partial"] is True
    assert replied.content == "this is all that "
    assert replied.extra["attempt"] == failed[-1].extra["attempt"] == len(failed)
    assert all(event.usage.estimated and event.usage.completion_tokens for event in failed)
    assert tokens(ledger) == tokens(memory) == tokens(events[-1].usage)
    assert client.said("q2") == "a whole answer"


@pytest.mark.promise("P19")
async def test_wording_for_speech_is_in_the_ledger(open_cell, llm, until):
    llm.reply(Script.text("It is noon.", usage=(100, 10)), Script.text("Noon.", usage=(50, 5)))
    async with open_cell() as cell:
        await cell.conversations.accept(Submission("hello", "q1", "ws", "c1", options={"sound": True}))
        await until(lambda: not cell.scheduler.unfinished_runs)
        ledger, memory = await used(cell)
        end = (await cell.store.read("c1"))[-1]
    assert end.extra["text_tts"] == "Noon."
    assert tokens(end.usage) == (100, 10)
    assert tokens(ledger) == tokens(memory) == (150, 15)


def test_a_model_without_a_price_costs_as_the_dearest(tmp_path):
    priced = LlmEntry(name="a", provider="x", base_url="", key=Secret(""), models=("m", "m", "m"), price=(PRICE,) * 3)
    free = LlmEntry(name="b", provider="x", base_url="", key=Secret(""), models=("n", "n", "n"))
    models = Models(AgentSettings(user="bob", home=tmp_path, llm="b", llms={"a": priced, "b": free}))
    (candidate,) = models.candidates(1)
    assert candidate.price == PRICE
    (chosen,) = models.candidates(1, "a", "another")
    assert chosen.price == PRICE


@pytest.mark.promise("P19")
async def test_a_title_that_was_not_given_is_in_the_ledger_all_the_same(open_cell, connect, llm, until):
    llm.reply(Script.text("ok", usage=(10, 1)))
    llm.otherwise(Script.fault(Fault.CUT, text="A long title that is cut", after=3))
    async with open_cell(titles=True) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")

        async def counted():
            ledger, memory = await used(cell)
            return ledger.completion_tokens > 1 and tokens(ledger) == tokens(memory)

        await until(counted)
        events = await cell.store.read("c1")
    assert events[-1].type == "conversation.changed"
    assert events[-1].usage.estimated


@pytest.mark.parametrize(("limit", "daily"), [({"cost_per_run": 0.0}, False), ({"tokens_per_day": 1}, True)])
async def test_only_a_limit_of_the_day_is_said_to_be_one(open_cell, connect, limit, daily, monkeypatch):
    async with open_cell(more={"limits": LimitSettings(**limit)}) as cell:
        monkeypatch.setattr(cell.models, "_dearest", PRICE)
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        end = await client.end_of("q1")
        (row,) = await cell.store.runs(RunFilter())
        body = await process_body(cell, row)
    assert end["error"]["code"] == "quota_exceeded"
    assert ("retry_after" in body, body["message"] == "Your daily limit is reached") == (daily, daily)
