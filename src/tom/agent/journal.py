"""A run's journal: what has happened in it, recorded in the store and told to the feed, in that order."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace

from tom.agent.feed import Feed, Stored
from tom.config.secret import Secret
from tom.conversation import asks
from tom.conversation import event as happened
from tom.conversation.event import Event, EventType
from tom.conversation.run import RunProgress, RunState
from tom.conversation.tool import ToolClass
from tom.store.eventstore import EventStore, RunRow

NOT_MADE = "Not called: the run ended before."


class Journal:
    """One run being worked on by this process.

    ``parked`` asks the loop to stop at the next safe point, leaving the run to be resumed later. ``on_rest`` is told
    when a call of the run begins (True) and ends (False) to wait for the person on its open connection.
    """

    def __init__(self, row: RunRow, progress: RunProgress, store: EventStore, feed: Feed, secret: Secret) -> None:
        """Work on the run ``row``, which stands at ``progress``; the keys of its calls are made with ``secret``."""
        self.row = row
        self.progress = progress
        self.parked = False
        self.on_rest: Callable[[bool], None] = lambda resting: None  # noqa: ARG005
        self._expected: dict[str, asyncio.Future[Event]] = {}
        self._taken = progress.state is RunState.QUEUED
        self._store = store
        self._feed = feed
        self._secret = secret

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.row.id

    @property
    def conversation_id(self) -> str:
        """The conversation's id."""
        return self.row.conversation_id

    @property
    def request_id(self) -> str:
        """The id under which the run was asked for."""
        return self.row.request_id

    async def record(self, *events: Event) -> None:
        """Store the events in one commit, then tell the feed. Raises `Superseded` when the run is not ours any more.

        A cancellation waits for the commit, so that ``progress`` never lags behind what is on disk.
        """
        writing = asyncio.ensure_future(self._append(events))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    async def _append(self, events: tuple[Event, ...]) -> None:
        for stored in await self._store.append(events):
            self.progress = self.progress.apply(stored)
            self._feed.publish(Stored(stored, self.request_id))
            if stored.type == EventType.ELICITATION_ANSWERED:
                expected = self._expected.pop(stored.extra["elicitation_id"], None)
                if expected is not None and not expected.done():
                    expected.set_result(stored)

    async def ask(self, asked: Event) -> Event:
        """Record a question of a service whose connection waits, and wait for the event that answers it.

        The run is `waiting` until no question is open any more.
        """
        answer = asyncio.get_running_loop().create_future()
        self._expected[asked.extra["elicitation_id"]] = answer
        resting = self.progress.state is RunState.WAITING
        waiting = asks.run_waiting(self.conversation_id, run_id=self.run_id, reason="elicitation")
        self.on_rest(True)
        try:
            await self.record(asked, *(() if resting else (waiting,)))
            return await answer
        finally:
            self._expected.pop(asked.extra["elicitation_id"], None)
            if not self._expected:
                self.on_rest(False)

    async def go_on(self) -> None:
        """Record that a run which waited on a connection goes on, once nothing is asked any more."""
        if self.progress.state is RunState.WAITING and not self._expected and not self.progress.open_asks:
            await self.record(happened.run_resumed(self.conversation_id, run_id=self.run_id))

    def taking(self) -> tuple[Event, ...]:
        """The event that takes over a run which an earlier process had begun; nothing when it is ours already."""
        if self._taken:
            return ()
        self._taken = True
        return (happened.run_resumed(self.conversation_id, run_id=self.run_id),)

    async def fail(self, code: str, reason: str) -> None:
        """End the run as failed."""
        usage = self.progress.usage
        failed = happened.run_failed(self.conversation_id, run_id=self.run_id, usage=usage, code=code, reason=reason)
        await self.record(*self.taking(), *self.in_flight(), *self.not_made(), failed)

    def remember_unresolved(self, tools: frozenset[str]) -> None:
        """Tools whose outcome an earlier try at the same message has left unknown."""
        self.progress = replace(self.progress, unresolved_tools=self.progress.unresolved_tools | tools)

    def in_flight(self) -> tuple[Event, ...]:
        """One `tool.unresolved` for every call that left and has no result."""
        return tuple(unresolved_call(self, event) for event in self._doubtful())

    def not_made(self) -> tuple[Event, ...]:
        """One `tool.returned` for every pending call that was surely not made, now that the run ends.

        With them, and with those of `in_flight`, the reply has all its results: a retry is told of each.
        """
        doubtful = {event.tool_call_id for event in self._doubtful()}
        return tuple(
            happened.tool_returned(
                self.conversation_id,
                NOT_MADE,
                run_id=self.run_id,
                turn=self.progress.turns - 1,
                call_id=call.id,
                is_error=True,
                duration_ms=0,
            )
            for call in self.progress.pending
            if call.id not in doubtful
        )

    def interrupted(self) -> tuple[Event, ...]:
        """The same for a run that is taken up again: calls that only read are made again instead."""
        doubtful = self._doubtful()
        return tuple(
            unresolved_call(self, event) for event in doubtful if not ToolClass(event.extra["class"]).reads_only
        )

    def _doubtful(self) -> tuple[Event, ...]:
        """The last intent of every call without a result, but those that their service answered with questions."""
        last: dict[str, Event] = {}
        for event in self.progress.events:
            call_id = event.tool_call_id or ""
            if event.type == EventType.TOOL_CALLED and call_id in self.progress.intended:
                last[call_id] = event
            elif event.type == EventType.ELICITATION_REQUESTED and event.extra["key"]:
                last.pop(call_id, None)
        return tuple(last.values())

    def key_for(self, turn: int, call_id: str) -> str:
        """The key that lets a service recognise a repetition of this very call.

        HMAC-SHA-256 over epoch, run, turn and call: nobody else can make it, and a restored copy never makes it again.
        """
        text = f"{self._store.epoch}\0{self.run_id}\0{turn}\0{call_id}"
        return hmac.new(self._secret.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()


def unresolved_call(run: Journal, intent: Event) -> Event:
    """The honest answer for a call that may have happened."""
    service, tool = intent.extra["service"], intent.extra["tool"]
    text = (
        f"The call of '{service}.{tool}' at {intent.timestamp} was interrupted: it may have happened or not. "
        "Tell the user so. Look with a tool that only reads before anything else; the call is not repeated."
    )
    return happened.tool_unresolved(
        run.conversation_id,
        text,
        run_id=run.run_id,
        turn=intent.turn,
        call_id=intent.tool_call_id or "",
        service=service,
        tool=tool,
    )
