# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every store must do about asks: settled once, by whoever was first, while their run has not ended."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.errors import AlreadyAnswered, Superseded
from tom.store.eventstore import EventStore, RunFilter
from tom.testing.store_events import (
    asked,
    called,
    cancelled,
    completed,
    failed,
    granted,
    opened,
    questioned,
    replied,
    resumed,
    returned,
    started,
    told,
    unresolved,
    waiting,
    wished,
)
from tom.testing.store_reading import Contract, Reopen, conversation_row, run_row


class AsksContract(Contract):
    """Approvals and elicitations."""

    async def test_an_answer_is_stored_once(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), wished("r1", "call-2"), waiting("r1")])
        (first,) = await store.append([granted("r1")])
        for again in (granted("r1"), granted("r1", decision="deny"), granted("r1", by="expiry")):
            with pytest.raises(AlreadyAnswered):
                await store.append([again])
        with pytest.raises(AlreadyAnswered):
            await store.append([granted("r1", "call-2"), granted("r1")])
        assert (await store.read("c"))[-1] == first
        await store.append([granted("r1", "call-2", decision="deny")])
        assert (await run_row(store, "r1")).state is RunState.WAITING

    async def test_of_two_answers_at_once_one_is_first(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), waiting("r1")])
        answers = await asyncio.gather(
            *(store.append([granted("r1", by=f"device {number}")]) for number in range(20)), return_exceptions=True
        )
        assert sum(isinstance(answer, AlreadyAnswered) for answer in answers) == 19
        assert [event.type for event in await store.read("c", after=4)] == ["approval.answered"]

    @pytest.mark.parametrize("outcome", ["accept", "decline", "cancel"])
    async def test_a_service_is_answered_once(self, store: EventStore, outcome: str) -> None:
        await store.append([asked("r1"), started("r1"), called("r1"), questioned("r1"), waiting("r1")])
        await store.append([told("r1", outcome=outcome)])
        with pytest.raises(AlreadyAnswered):
            await store.append([told("r1")])

    async def test_an_ask_that_nobody_made_has_no_answer(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1")])
        with pytest.raises(AlreadyAnswered):
            await store.append([granted("r1")])
        with pytest.raises(Superseded):
            await store.append([granted("nobody")])
        await store.append([asked("r2"), started("r2"), wished("r2")])
        stolen = granted("r2")
        with pytest.raises(AlreadyAnswered):
            await store.append([replace(stolen, extra={**stolen.extra, "run_id": "r1"})])

    async def test_a_call_is_asked_about_once(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1")])
        for again in (wished("r1", ask="another"), wished("r1", "call-2", ask="ask of r1 call-1")):
            with pytest.raises(Superseded):
                await store.append([again])
        await store.append([questioned("r1")])
        with pytest.raises(Superseded):
            await store.append([wished("r1", "call-2"), wished("r1", "call-2", ask="another")])
        assert len(await store.read("c")) == 4

    @pytest.mark.promise("P1")
    async def test_a_waiting_run_is_answered_through_any_opening(self, store: EventStore, reopen: Reopen) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), wished("r1", "call-2"), waiting("r1")])
        later = await reopen(store)
        await later.append([granted("r1")])
        with pytest.raises(Superseded):
            await later.append([wished("r1", "call-3")])
        await later.append([resumed("r1"), granted("r1", "call-2", edited=True)])
        assert (await run_row(later, "r1")).state is RunState.RUNNING

    @pytest.mark.parametrize("end", [failed, cancelled])
    async def test_a_waiting_run_is_ended_through_any_opening(
        self, store: EventStore, reopen: Reopen, end: Callable[[str], Event]
    ) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), waiting("r1")])
        later = await reopen(store)
        with pytest.raises(Superseded):
            await later.append([completed("r1")])
        await later.append([end("r1")])
        assert (await run_row(later, "r1")).state.ended
        with pytest.raises(Superseded):
            await later.append([granted("r1")])

    @pytest.mark.parametrize("end", [completed, failed, cancelled])
    async def test_with_its_run_an_ask_ends(self, store: EventStore, end: Callable[[str], Event]) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), questioned("r1", "call-2"), end("r1")])
        for late in (granted("r1"), told("r1", "call-2")):
            with pytest.raises(Superseded):
                await store.append([late])

    @pytest.mark.parametrize("result", [returned, unresolved])
    async def test_with_its_call_an_ask_ends(self, store: EventStore, result: Callable[[str, str], Event]) -> None:
        await store.append([asked("r1"), started("r1"), questioned("r1", "call-1"), questioned("r1", "call-2")])
        await store.append([result("r1", "call-1")])
        with pytest.raises(AlreadyAnswered):
            await store.append([told("r1", "call-1")])
        await store.append([told("r1", "call-2")])

    async def test_the_run_that_asked_is_found(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), wished("r1"), waiting("r1"), asked("r2", "d")])
        await store.append([started("r2", "d"), questioned("r2", conversation="d")])
        ask, question = "ask of r1 call-1", "question of r2 call-1"
        assert [run.id for run in await store.runs(RunFilter(asked=ask))] == ["r1"]
        assert [run.id for run in await store.runs(RunFilter(asked=question, conversation_id="d"))] == ["r2"]
        assert await store.runs(RunFilter(asked=ask, conversation_id="d")) == ()
        assert await store.runs(RunFilter(asked=ask, states=[RunState.RUNNING])) == ()
        assert await store.runs(RunFilter(asked="nothing")) == ()
        await store.append([granted("r1")])
        assert [run.id for run in await store.runs(RunFilter(asked=ask, run_id="r1"))] == ["r1"]
        await store.erase("c")
        assert await store.runs(RunFilter(asked=ask)) == ()

    async def test_a_yes_may_stand_for_its_conversation(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), started("r1"), *(wished("r1", f"call-{n}") for n in range(4))])
        await store.append([granted("r1", "call-0")])
        await store.append([granted("r1", "call-1", decision="deny", remember="conversation")])
        assert (await conversation_row(store)).allowed == {}
        await store.append([granted("r1", "call-2", remember="conversation")])
        assert (await conversation_row(store)).allowed == {"notes.add": "pin-1"}

    async def test_erased_asks_may_be_asked_again(self, store: EventStore) -> None:
        events = [asked("r1"), started("r1"), wished("r1"), waiting("r1"), replied("r1")]
        await store.append(events)
        await store.erase("c")
        await store.append(events)
        await store.append([granted("r1")])
