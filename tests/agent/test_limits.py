"""What a run and a day may use: reserved before, settled after, never overspent together."""

import asyncio
from dataclasses import replace

import pytest

from tom.agent.counting import Factors
from tom.agent.limits import PRESUMED_REPLY, Day, RunLimits
from tom.config.agent import AgentSettings, LimitSettings, LlmEntry, Price
from tom.config.secret import Secret
from tom.conversation import message as make
from tom.conversation.usage import NOTHING, Usage
from tom.errors import QuotaExceeded, TokenLimit, ToolLimit
from tom.llm.levels import Candidate
from tom.llm.provider import ModelRequest
from tom.llm.scripted import ScriptedModel
from tom.store.memory import MemoryEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import asked, replied, started

pytestmark = pytest.mark.anyio

PRICE = Price(input=1.0, output=10.0)
DEAR = Price(input=100.0, output=1000.0)
REQUEST = ModelRequest("m", (make.user("hello", 1000),), options={"max_tokens": 100})
COST = 1000 * 1 + 100 * 10
"""Millionths that are set aside for it."""


def entry(name, *price):
    return LlmEntry(name=name, provider="x", base_url="", key=Secret(""), models=("m", "m", "m"), price=price)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    return MemoryEventStore(clock)


@pytest.fixture
def limits(store, clock, tmp_path):
    """``limits(**settings)``: a function that makes the limits of a run, all on one day."""

    def given(prices=(PRICE, PRICE, PRICE), **settings):
        llms = {"a": entry("a", *prices), "b": entry("b")}
        agent = AgentSettings(user="bob", home=tmp_path, llm="a", llms=llms, limits=LimitSettings(**settings))
        day = Day(store, agent, clock)
        return lambda: RunLimits(agent, day, Factors())

    return given


def candidate(llm="a", price=PRICE, **more):
    return Candidate(llm, ScriptedModel("UTC"), "m", price=price, **more)


async def test_what_is_set_aside_is_prompt_and_longest_reply_at_their_price(limits):
    run = limits()()
    held = await run.reserve(candidate(), REQUEST, NOTHING)
    assert (held.usage.prompt_tokens, held.usage.completion_tokens, held.usage.cost) == (1000, 100, COST)
    unbounded = replace(REQUEST, options={})
    assert (await run.reserve(candidate(), unbounded, NOTHING)).usage.completion_tokens == PRESUMED_REPLY
    assert (await run.reserve(candidate(max_tokens=7), unbounded, NOTHING)).usage.completion_tokens == 7


async def test_runs_beside_each_other_cannot_overspend_together(limits):
    make_run = limits(cost_per_day=3 * COST / 1e6)
    runs = [make_run() for _ in range(4)]
    answers = await asyncio.gather(
        *(run.reserve(candidate(), REQUEST, NOTHING) for run in runs), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, QuotaExceeded)]
    assert len(refused) == 1
    assert refused[0].details == {
        "name": "user.cost_per_day", "limit": 3 * COST / 1e6, "used": 0.0, "resets_at": "2026-01-02T00:00:00.000Z"
    }  # fmt: skip


async def test_what_was_not_used_is_free_again(limits):
    run = limits(cost_per_day=COST / 1e6)()
    for _ in range(5):
        held = await run.reserve(candidate(), REQUEST, NOTHING)
        with pytest.raises(QuotaExceeded):
            await run.reserve(candidate(), REQUEST, NOTHING)
        run.settle(held, NOTHING)
        run.settle(held, NOTHING)


async def test_what_was_used_before_this_agent_began_counts(limits, store, clock):
    used = replace(replied("r1"), usage=Usage(5, 7, cost=COST))
    await store.append([asked("r1"), started("r1"), used])
    run = limits(cost_per_day=1.5 * COST / 1e6)()
    with pytest.raises(QuotaExceeded) as refused:
        await run.reserve(candidate(), REQUEST, NOTHING)
    assert refused.value.details["used"] == COST / 1e6
    clock.advance(86_400)
    await run.reserve(candidate(), REQUEST, NOTHING)


async def test_what_is_settled_after_midnight_is_not_of_the_new_day(limits, clock):
    run = limits(cost_per_day=1.5 * COST / 1e6, cost_per_run=9)()
    held = await run.reserve(candidate(), REQUEST, NOTHING)
    clock.advance(86_400)
    run.settle(held, Usage(1000, 100, cost=COST))
    await run.reserve(candidate(), REQUEST, NOTHING)


async def test_an_unknown_price_counts_as_the_dearest(limits):
    run = limits(prices=(PRICE, DEAR, PRICE))()
    held = await run.reserve(candidate("b", None), REQUEST, NOTHING)
    assert held.usage.cost == 1000 * 100 + 100 * 1000
    free = limits(prices=())()
    assert (await free.reserve(candidate("b", None), REQUEST, NOTHING)).usage.cost == 0
    assert (await run.reserve(candidate("scripted", None), REQUEST, NOTHING)).usage.cost == 0


async def test_what_an_unknown_price_used_counts_at_the_dearest_too(limits):
    run = limits(prices=(DEAR, DEAR, DEAR), cost_per_day=0.3, cost_per_run=9)()
    held = await run.reserve(candidate("b", None), REQUEST, NOTHING)
    run.settle(held, Usage(1000, 100))
    with pytest.raises(QuotaExceeded):
        await run.reserve(candidate("b", None), REQUEST, NOTHING)


async def test_one_run_has_a_bound_of_its_own(limits):
    make_run = limits(cost_per_run=1.5 * COST / 1e6)
    run = make_run()
    await run.reserve(candidate(), REQUEST, NOTHING)
    with pytest.raises(QuotaExceeded) as refused:
        await run.reserve(candidate(), REQUEST, NOTHING)
    assert (refused.value.details["name"], refused.value.details["resets_at"]) == ("run.cost", None)
    with pytest.raises(QuotaExceeded):
        await make_run().reserve(candidate(), REQUEST, Usage(1, 1, cost=COST))
    await make_run().reserve(candidate(), REQUEST, NOTHING)


@pytest.mark.parametrize(("spent", "fits"), [(Usage(500, 99), True), (Usage(501, 0), False), (Usage(0, 100), False)])
async def test_a_run_has_so_many_tokens(limits, spent, fits):
    run = limits(tokens_in=1500, tokens_out=100)()
    if fits:
        assert (await run.reserve(candidate(), REQUEST, spent)).usage.completion_tokens == 1
        return
    with pytest.raises(TokenLimit):
        await run.reserve(candidate(), REQUEST, spent)


async def test_a_day_has_so_many_tokens(limits):
    run = limits(tokens_per_day=2000)()
    held = await run.reserve(candidate(), REQUEST, NOTHING)
    with pytest.raises(QuotaExceeded) as refused:
        await run.reserve(candidate(), REQUEST, NOTHING)
    assert refused.value.details["name"] == "user.tokens_per_day"
    run.settle(held, Usage(1000, 0))
    with pytest.raises(QuotaExceeded) as refused:
        await run.reserve(candidate(), REQUEST, NOTHING)
    assert refused.value.details["used"] == 1000


async def test_a_run_calls_so_many_tools(limits):
    run = limits(tool_calls=3)()
    run.check_calls(2)
    with pytest.raises(ToolLimit):
        run.check_calls(3)


async def test_the_estimate_learns_from_what_a_provider_counts(limits):
    make_run = limits()
    run = make_run()
    for _ in range(60):
        held = await run.reserve(candidate(), REQUEST, NOTHING)
        run.settle(held, Usage(1500, 1))
    held = await run.reserve(candidate(), REQUEST, NOTHING)
    assert 1480 <= held.usage.prompt_tokens <= 1500
    run.settle(held, Usage(1, 1, estimated=True))
    assert (await run.reserve(candidate(), REQUEST, NOTHING)).usage.prompt_tokens == held.usage.prompt_tokens
    assert (await make_run().reserve(candidate(), REQUEST, NOTHING)).usage.prompt_tokens == 1000


def test_a_factor_stays_within_reason_and_small_prompts_say_nothing():
    factors = Factors()
    factors.learn("m", 10, 1000)
    assert factors.of("m") == 1.0
    for _ in range(99):
        factors.learn("m", 1000, 100_000)
        factors.learn("n", 1000, 1)
    assert (factors.of("m"), factors.of("n"), factors.of("o")) == (2.0, 0.5, 1.0)
