"""Answering asks: what waits for the person, and the person's word.

Every door of the owner uses this: it checks the digest, the arguments, the answer's form and the time, appends the
answer (the store lets only the first through), and has the run taken up when nothing is open any more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tom.agent.answers import check_content
from tom.agent.asks import ask_object
from tom.agent.calls import digest_of, parse_arguments, unmasked
from tom.agent.feed import ALL, Feed, Item, Stored
from tom.agent.journal import Journal
from tom.agent.scheduler import Scheduler
from tom.clock import Clock, parse_timestamp, timestamp
from tom.conversation import asks
from tom.conversation.elicitation import ElicitationAnswer
from tom.conversation.event import Event, EventType
from tom.errors import (
    AlreadyAnswered,
    ApprovalNotFound,
    ArgumentsChanged,
    AskExpired,
    ElicitationNotFound,
    InvalidAnswer,
    StorageFull,
    StorageUnavailable,
    Superseded,
    TomError,
)
from tom.services.reading import READ_RESOURCE, reading_problem
from tom.services.toolbox import Toolbox
from tom.store.eventstore import EventStore, RunFilter, RunRow
from tom.telemetry import logs

log = logs.get("approvals")

_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_ENDS_CALL = frozenset({EventType.TOOL_RETURNED, EventType.TOOL_UNRESOLVED})
_ASKED = frozenset({EventType.APPROVAL_REQUESTED, EventType.ELICITATION_REQUESTED})
_ANSWERED = frozenset({EventType.APPROVAL_ANSWERED, EventType.ELICITATION_ANSWERED})
RESTARTED = "restart"
"""Who answered a question whose connection ended with the process."""

LOOK_SECONDS = 60.0
STUCK_SECONDS = 5.0


class Answering(Protocol):
    """What doors do with asks. Implemented by `Approvals`; ids of other people's asks are unknown ids."""

    async def pending(self) -> tuple[dict[str, Any], ...]:
        """The objects (`asks.ask_object`) of all open asks, oldest first: approvals and elicitations."""
        ...

    async def decide(
        self,
        approval_id: str,
        decision: str,
        *,
        digest: str,
        arguments: Mapping[str, Any] | None = None,
        note: str = "",
        remember: str = "once",
        by: str,
        device: str = "",
    ) -> dict[str, Any]:
        """Answer an approval with ``allow`` or ``deny``; returns ``{"approval_id", "decision", "answered_at"}``.

        Raises `ApprovalNotFound`, `AlreadyAnswered` (its details carry the same object), `AskExpired`,
        `ArgumentsChanged` when ``digest`` is not the asked one, `InvalidAnswer` when edited ``arguments`` break the
        tool's schema or ``remember`` is not on offer.
        """
        ...

    async def reply(
        self, elicitation_id: str, answer: ElicitationAnswer, *, by: str, device: str = ""
    ) -> dict[str, Any]:
        """Answer a service's question; returns ``{"elicitation_id", "outcome", "answered_at"}``.

        Raises `ElicitationNotFound`, `AlreadyAnswered`, `AskExpired`, `InvalidAnswer` with ``errors``.
        """
        ...


class Approvals:
    """The asks of one person. `Answering`."""

    def __init__(self, store: EventStore, scheduler: Scheduler, feed: Feed, toolbox: Toolbox, clock: Clock) -> None:
        """Hear of asks through ``feed``; have answered runs taken up by ``scheduler``."""
        self._store = store
        self._scheduler = scheduler
        self._feed = feed
        self._toolbox = toolbox
        self._clock = clock
        self._open: dict[str, Event] = {}
        self._dead: set[str] = set()
        self._changed = asyncio.Event()
        feed.listen(ALL, self._hear)
        scheduler.found_waiting = self._take_up
        scheduler.known_waiting = self._know
        scheduler.beside.append(self._watch)

    async def pending(self) -> tuple[dict[str, Any], ...]:
        """The objects of all open asks, oldest first."""
        now = timestamp(self._clock.now())
        return tuple(ask_object(asked) for asked in self._open.values() if not self._is_over(asked, now))

    async def decide(
        self,
        approval_id: str,
        decision: str,
        *,
        digest: str,
        arguments: Mapping[str, Any] | None = None,
        note: str = "",
        remember: str = "once",
        by: str,
        device: str = "",
    ) -> dict[str, Any]:
        """Answer an approval; see `Answering`."""
        asked = await self._asked(approval_id, EventType.APPROVAL_REQUESTED)
        if digest != asked.extra["arguments_digest"]:
            raise ArgumentsChanged(approval_id=approval_id)
        if remember != "once" and (decision != asks.ALLOW or not asked.extra["may_remember"]):
            message = "This can only be allowed once."
            raise InvalidAnswer(message)
        edited = await self._edited(asked, arguments) if arguments is not None and decision == asks.ALLOW else None
        answered = asks.approval_answered(
            asked,
            decision=decision,
            by=by,
            device=device,
            digest="" if edited is None else digest_of(edited),
            arguments=edited,
            note=note,
            remember=remember,
        )
        stored = await self._record(asked, answered)
        log.info("✅ An approval was answered", event="approval_answered", decision=decision)
        return {"approval_id": approval_id, "decision": decision, "answered_at": stored.timestamp}

    async def reply(
        self, elicitation_id: str, answer: ElicitationAnswer, *, by: str, device: str = ""
    ) -> dict[str, Any]:
        """Answer a service's question; see `Answering`."""
        asked = await self._asked(elicitation_id, EventType.ELICITATION_REQUESTED)
        if answer.outcome == "accept" and asked.extra["mode"] == "form":
            check_content(asked.extra.get("schema", {}), answer.content)
        stored = await self._record(asked, asks.elicitation_answered(asked, answer, by=by, device=device))
        return {"elicitation_id": elicitation_id, "outcome": answer.outcome, "answered_at": stored.timestamp}

    # --- finding an ask ----------------------------------------------------------------------------------------

    async def _asked(self, ask_id: str, kind: EventType) -> Event:
        asked = self._open.get(ask_id)
        if asked is None or asked.type != kind:
            raise await self._why_closed(ask_id, kind)
        if self._is_over(asked, timestamp(self._clock.now())):
            self._changed.set()  # it is answered by `_watch`
            raise AskExpired(**_id_of(asked))
        return asked

    async def _why_closed(self, ask_id: str, kind: EventType) -> TomError:
        """Why an ask cannot be answered: unknown, answered (how), expired, or ended with its run."""
        rows = await self._store.runs(RunFilter(asked=ask_id))
        events = await self._events_of(rows[0]) if rows else ()
        about = [event for event in events if event.type in _ASKED | _ANSWERED and _ask_id(event) == ask_id]
        if not about or about[0].type != kind:
            return ApprovalNotFound() if kind == EventType.APPROVAL_REQUESTED else ElicitationNotFound()
        if len(about) == 1:
            message = "The run has ended; this needs no answer any more."
            return AlreadyAnswered(message, **_id_of(about[0]), outcome="cancelled")
        extra = about[-1].extra
        if extra["by"] == asks.EXPIRED:
            return AskExpired(**_id_of(about[0]))
        outcome = extra.get("decision") or extra.get("outcome")
        return AlreadyAnswered(**_id_of(about[0]), outcome=outcome, answered_at=about[-1].timestamp)

    async def _events_of(self, row: RunRow) -> tuple[Event, ...]:
        found: list[Event] = []
        after = row.first_seq - 1
        while events := await self._store.read(row.conversation_id, after=after, limit=2000):
            found += [event for event in events if event.run_id == row.id]
            after = events[-1].seq
        return tuple(found)

    # --- answering ---------------------------------------------------------------------------------------------

    async def _edited(self, asked: Event, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The edited arguments with what was hidden put back. Raises `InvalidAnswer`."""
        (row,) = await self._store.runs(RunFilter(run_id=asked.run_id))
        replies = [event for event in await self._events_of(row) if event.type == EventType.MODEL_REPLIED]
        calls = {call.id: call for call in replies[-1].tool_calls}
        edited = unmasked(arguments, parse_arguments(calls[asked.tool_call_id or ""].arguments))
        if asked.extra["service"] == READ_RESOURCE.service:
            wrong = reading_problem(edited)
            if wrong is not None:
                raise InvalidAnswer(wrong)
            return edited
        offered = await self._toolbox.tools([asked.extra["service"]])
        tool = next((tool for tool in offered.tools if tool.tool == asked.extra["tool"]), None)
        if tool is None:
            message = f"The tool '{asked.extra['service']}.{asked.extra['tool']}' is not there any more."
            raise InvalidAnswer(message)
        problem = self._toolbox.check(tool, edited)
        if problem is not None:
            raise InvalidAnswer(problem.text, **problem.data)
        return edited

    async def _record(self, asked: Event, answered: Event) -> Event:
        """Store the answer, tell everybody, and have the run taken up when nothing else is asked."""
        live = self._scheduler.journal_of(asked.run_id)
        try:
            if live is not None:
                await live.record(answered)
                stored = live.progress.events[-1]
            else:
                (stored,) = await self._store.append((answered,))
                self._feed.publish(Stored(stored, None))
        except (AlreadyAnswered, Superseded):
            self._forget(_ask_id(asked))
            raise await self._why_closed(_ask_id(asked), EventType(asked.type)) from None
        if not any(other.run_id == asked.run_id for other in self._open.values()):
            self._scheduler.wake(asked.run_id)
        return stored

    async def _close(self, asked: Event) -> None:
        """Answer an ask for nobody: its time is over, or its connection is gone."""
        by = RESTARTED if _ask_id(asked) in self._dead else asks.EXPIRED
        if asked.type == EventType.APPROVAL_REQUESTED:
            answered = asks.approval_answered(asked, decision=asks.DENY, by=by)
        else:
            answered = asks.elicitation_answered(asked, ElicitationAnswer("cancel"), by=by)
        try:
            await self._record(asked, answered)
        except (StorageFull, StorageUnavailable) as error:
            log.error("❌ The end of an ask cannot be written", event="history_store_failed", code=error.code)
        except TomError:  # answered in the last moment, or its run has ended
            return
        else:
            log.info("⚠️ An ask has expired", event="ask_expired", run_id=asked.run_id)

    # --- what is open ------------------------------------------------------------------------------------------

    def _hear(self, item: Item) -> None:
        if not isinstance(item, Stored):
            return
        event = item.event
        if event.type in _ASKED:
            self._open[_ask_id(event)] = event
        elif event.type in _ANSWERED:
            self._forget(_ask_id(event))
        elif event.type in _ENDS_CALL:
            self._forget(*(name for name, asked in self._open.items() if _same_call(asked, event)))
        elif event.type in _ENDS:
            self._forget(*(name for name, asked in self._open.items() if asked.run_id == event.run_id))
        else:
            return
        self._changed.set()

    def _forget(self, *ask_ids: str) -> None:
        for ask_id in ask_ids:
            self._open.pop(ask_id, None)
            self._dead.discard(ask_id)

    def _know(self, asked: Sequence[Event]) -> None:
        """What a run asks whose worker leaves: of a run that was taken up after a crash nothing was heard."""
        for event in asked:
            self._open.setdefault(_ask_id(event), event)
        self._changed.set()

    def _take_up(self, run: Journal) -> bool:
        """Know the asks of a run that was found waiting at the start; whether there are any.

        A question that waited on a connection has lost it: it is answered for nobody as soon as that can be written.
        """
        asked = run.progress.open_asks
        self._know(asked)
        self._dead |= {
            _ask_id(event)
            for event in asked
            if event.type == EventType.ELICITATION_REQUESTED and not event.extra["key"]
        }
        return bool(asked)

    async def _watch(self) -> None:
        """Answer what nobody has answered in time. Runs until it is cancelled."""
        while True:
            self._changed.clear()
            now = timestamp(self._clock.now())
            for asked in [asked for asked in self._open.values() if self._is_over(asked, now)]:
                await self._close(asked)
            await self._until_due(now)

    async def _until_due(self, now: str) -> None:
        """Until the next ask expires or what is open has changed, but looking at the clock at least each minute.

        What could not be written is tried again after some seconds. A machine that slept has a wall clock that jumped.
        """
        ends = [asked.extra["expires_at"] for asked in self._open.values() if asked.extra["expires_at"]]
        stuck = any(self._is_over(asked, now) for asked in self._open.values())
        rest = (parse_timestamp(min(ends)) - self._clock.now()).total_seconds() if ends else LOOK_SECONDS
        seconds = STUCK_SECONDS if stuck else min(max(0.0, rest), LOOK_SECONDS)
        if not self._open:
            await self._changed.wait()
            return
        async with asyncio.TaskGroup() as group:
            waits: list[asyncio.Task[Any]] = [group.create_task(self._clock.sleep(seconds))]
            if not stuck:
                waits.append(group.create_task(self._changed.wait()))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    def _is_over(self, asked: Event, now: str) -> bool:
        """Whether nobody may answer it any more."""
        expires_at: str | None = asked.extra["expires_at"]
        return _ask_id(asked) in self._dead or (expires_at is not None and expires_at <= now)


def _same_call(asked: Event, ended: Event) -> bool:
    return (asked.run_id, asked.turn, asked.tool_call_id) == (ended.run_id, ended.turn, ended.tool_call_id)


def _ask_id(event: Event) -> str:
    return event.extra.get("approval_id") or event.extra.get("elicitation_id", "")


def _id_of(asked: Event) -> dict[str, str]:
    name = "approval_id" if asked.type == EventType.APPROVAL_REQUESTED else "elicitation_id"
    return {name: asked.extra[name]}
