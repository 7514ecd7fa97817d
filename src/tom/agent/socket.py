"""One client's socket: what it asked for, what it hears, without any transport.

`receive` takes the text of a frame; what is to be sent goes to the `Outbox`. Attached runs answer this socket's own
messages (`processing`, `chunk`, `complete`); subscriptions bring the stored events of a conversation.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tom import ids
from tom.agent import actions, frames
from tom.agent.actions import Action
from tom.agent.approvals import Answering
from tom.agent.asks import ask_object
from tom.agent.conversations import Accepted, Conversations
from tom.agent.feed import ALL, Delta, Item, Progressed, Restarted, Stored, ToolsAnnounced
from tom.agent.lasting import to_the_end
from tom.agent.learning import is_upkeep
from tom.agent.options import Choices
from tom.agent.outbox import Outbox
from tom.agent.permitted import again_by, check_named, permitted
from tom.agent.prompt import Circumstances
from tom.agent.recorded import status_of
from tom.agent.visiting import surface_of
from tom.agent.waiting import ANSWERED, ASKED, Pace, ask_id, open_asks, still_open
from tom.clock import Clock, timestamp
from tom.config.agent import ToolNotices
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.errors import AfterOutOfRange, InvalidJson, RateLimited, TomError
from tom.policy.permissions import Caller
from tom.telemetry import logs
from tom.telemetry.refusals import tell_refusal

log = logs.get("agent")

PAGE = 500
MAX_BAD_JSON = 20

_CHANGES = (
    actions.Chat,
    actions.Stop,
    actions.Approve,
    actions.Answer,
    actions.Retry,
    actions.New,
    actions.Clear,
)
_RATED = frozenset({"chat", "prompt", "retry", "approve", "answer"})
"""What is held to the rate as the same thing asked by HTTP is; to stop, read and ping is free."""

_FIGURED = frozenset({"chat", "prompt", "retry"})
"""What is counted as one request."""

_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_BEGINS = frozenset({EventType.RUN_STARTED, EventType.RUN_RESUMED})


class Abuse(Exception):
    """The client breaks the protocol: close with ``code``."""

    def __init__(self, code: int, reason: str) -> None:
        """Carry the close code."""
        self.code = code
        super().__init__(reason)


class Socket:
    """What one socket wants and hears."""

    def __init__(
        self,
        conversations: Conversations,
        outbox: Outbox,
        clock: Clock,
        approvals: Answering,
        *,
        caller: Caller,
        device: str = "",
        choices: Choices,
        streaming: bool,
        show_thinking: bool,
        tool_notices: ToolNotices,
        admit: Callable[[], Awaitable[None]] | None = None,
        count: Callable[[str | None, int], None] | None = None,
    ) -> None:
        """Speak for ``caller`` on ``device``; ``streaming`` is the default for its messages.

        ``admit`` counts an action, or raises `RateLimited`, or `Abuse` for whoever will not hear of it. ``count`` is told of
        each ``chat`` and ``retry``: the run whose end answers it and 0, or None and the status with which it was refused; a
        repetition has both.
        """
        self._conversations = conversations
        self._outbox = outbox
        self._clock = clock
        self._approvals = approvals
        self._caller = caller
        self._device = device
        self._choices = choices
        self._streaming = streaming
        self._show_thinking = show_thinking
        self._tool_notices = tool_notices
        self._admit = admit
        self._count = count
        self._attached: dict[str, tuple[str, bool, Callable[[], None]]] = {}
        self._subscribed: dict[str, Callable[[], None]] = {}
        self._seen: dict[str, int] = {}
        self._held: dict[str, list[Item]] = {}
        self._pace = Pace()
        self._calls: dict[str, tuple[ToolCall, ...]] = {}
        self._failures: dict[str, Event] = {}
        self._default: str | None = None
        self._bad_json = 0
        self._stopped_early: dict[str, str] = {}
        self._listener = self._hear

    def close(self) -> None:
        """Stop listening. Runs go on."""
        for _, _, leave in self._attached.values():
            leave()
        for leave in self._subscribed.values():
            leave()
        self._attached.clear()
        self._subscribed.clear()

    # --- receiving ---------------------------------------------------------------------------------------------

    async def receive(self, text: str) -> None:
        """Carry out one frame of the client; whatever is wrong is answered by one error frame. Raises `Abuse`."""
        named = ""
        try:
            envelope = actions.read_envelope(text)
            self._bad_json = 0
            named = envelope.action
            if self._admit is not None and named in _RATED:
                await self._admit()
            wanted = permitted(actions.read_action(envelope, self._choices), self._caller, self._choices.services)
            await check_named(wanted, self._caller, self._conversations)
            request_id = envelope.request_id or f"auto-{ids.ulid()}"
            # What was stored must be worked on: such an action is carried out to its end though its client is gone.
            changes = isinstance(wanted, _CHANGES)
            await (to_the_end(self._carry_out(request_id, wanted)) if changes else self._carry_out(request_id, wanted))
        except InvalidJson as error:
            self._bad_json += 1
            if self._bad_json >= MAX_BAD_JSON:
                raise Abuse(4400, "Too many frames that are not JSON") from error
            self._send(frames.refused(None, error))
        except TomError as error:
            self._note_refusal(named, error)
            self._send(frames.refused(actions.request_id_of(text), error))
        except Abuse:
            raise
        except Exception as error:  # noqa: BLE001 - a defect costs one clear answer, not the socket
            reference = ids.ulid()
            log.error("❌ A defect in an action", event="internal_error", reference=reference, exception=error)
            self._note_refusal(named, TomError())
            answer = frames.failed(
                actions.request_id_of(text), "internal_error", f"Internal error: {reference}", {"reference": reference}
            )
            self._send(answer)

    def _note_refusal(self, named: str, error: TomError) -> None:
        tell_refusal(error, operation=named or "frame")
        if self._count is not None and named in _FIGURED:
            self._count(None, error.http_status)

    async def overtake(self, text: str) -> bool:
        """Carry out at once what need not wait for slower actions before it; True when that was all of it.

        A `stop` ends the run that is there; where none is, or where it drops what waits as well, it keeps its place.
        """
        if '"stop"' not in text:
            return False
        try:
            wanted = actions.read_action(actions.read_envelope(text), self._choices)
            if not isinstance(wanted, actions.Stop):
                return False
            await check_named(wanted, self._caller, self._conversations)
            return await self._stop_at_once(wanted, actions.request_id_of(text))
        except TomError:
            return False  # what is wrong with it is told in its turn

    async def _stop_at_once(self, wanted: actions.Stop, request_id: str | None) -> bool:
        conversation_id = wanted.conversation_id
        stopped = await to_the_end(self._conversations.stop(conversation_id, wanted.run_id, queued=False))
        if stopped is None:
            return False
        if wanted.queued:
            self._stopped_early[conversation_id] = stopped
            return False
        identifier = request_id or f"auto-{ids.ulid()}"
        self._send(frames.done(identifier, "stopped", conversation_id=conversation_id, run_id=stopped))
        return True

    def refuse_rate(self, text: str, wait: float) -> None:
        """Answer an action that came too fast."""
        error = RateLimited(retry_after=wait)
        self._send(frames.refused(actions.request_id_of(text), error))

    async def _carry_out(self, request_id: str, wanted: Action) -> None:
        match wanted:
            case actions.Chat():
                await self._chat(wanted)
            case actions.Stop(conversation_id, run_id, queued):
                early = self._stopped_early.pop(conversation_id, None)
                stopped = await self._conversations.stop(conversation_id, run_id, queued=queued) or early
                result = "stopped" if stopped else "not_running"
                self._send(frames.done(request_id, result, conversation_id=conversation_id, run_id=stopped))
            case actions.Resume():
                await self._resume(request_id, wanted)
            case actions.Subscribe(topic, subscribe):
                await self._subscribe(request_id, topic, wanted=subscribe)
            case actions.Approve() | actions.Answer():
                self._send(frames.done(request_id, "recorded", **await self._record(wanted)))
            case actions.Retry(conversation_id, run_id):
                around = Circumstances(plain=self._outbox.plain)
                accepted = await self._conversations.retry(
                    conversation_id, run_id, request_id, around, check=again_by(self._caller)
                )
                await self._answer(accepted, request_id, streaming=self._streaming)
            case actions.New(metadata):
                old, self._default = self._default, await self._open(dict(metadata))
                self._send(frames.cleared(request_id, new=self._default, old=old, wiped=False))
            case actions.Clear(conversation_id, delete):
                await self._clear(request_id, conversation_id, delete=delete)
            case actions.Ping():
                self._send(frames.pong(request_id, timestamp(self._clock.now())))

    async def _record(self, wanted: actions.Approve | actions.Answer) -> dict[str, Any]:
        """Record the person's answer to an ask."""
        by, device = self._caller.user, self._device
        if isinstance(wanted, actions.Answer):
            return await self._approvals.reply(wanted.elicitation_id, wanted.answer, by=by, device=device)
        word = wanted.word
        return await self._approvals.decide(
            wanted.approval_id,
            word.decision,
            digest=word.digest,
            arguments=word.arguments,
            note=word.note,
            remember=word.remember,
            by=by,
            device=device,
        )

    # --- chat --------------------------------------------------------------------------------------------------

    async def _chat(self, wanted: actions.Chat) -> None:
        message = wanted.message
        if message.conversation_id is None and self._default is None and self._caller.visitor:
            self._default = await self._open(dict(message.metadata))
        if message.conversation_id is None and self._default is not None:
            message = replace(message, conversation_id=self._default)
        message = replace(message, around=replace(message.around, plain=self._outbox.plain))
        accepted = await self._conversations.accept(message)
        if wanted.message.conversation_id is None:
            self._default = accepted.run.conversation_id
        streaming = self._streaming if wanted.streaming is None else wanted.streaming
        await self._answer(accepted, message.request_id, streaming=streaming)
        if message.if_busy == "interrupt" and accepted.queued:
            await self._conversations.interrupt(accepted)

    async def _answer(self, accepted: Accepted, request_id: str, *, streaming: bool) -> None:
        """Tell that it is accepted and follow the run. Nothing is awaited before the socket is attached to a new run."""
        run = accepted.run
        if self._count is not None and not accepted.repeated:
            self._count(run.id, 0)
        self._send(
            frames.accepted(
                request_id,
                conversation_id=run.conversation_id,
                run_id=run.id,
                seq=run.first_seq,
                durable=self._conversations.durable,
                queued=accepted.queued,
            )
        )
        if not accepted.repeated:
            self._attach(run.id, request_id, streaming=streaming)
            return
        await self._join(accepted, request_id, streaming=streaming)

    async def _join(self, accepted: Accepted, request_id: str, *, streaming: bool) -> None:
        """Follow a run that was asked for before: from its text so far, or its recorded end."""
        self._attach(accepted.run.id, request_id, streaming=streaming)
        self._held[accepted.run.id] = []
        try:
            events = await self._conversations.events_of(await self._conversations.run(accepted.run.id))
        finally:
            held = self._held.pop(accepted.run.id)
        end = next((event for event in events if event.type in _ENDS), None)
        if self._count is not None:
            self._count(accepted.run.id, status_of(end))
        if end is not None:
            self._detach(accepted.run.id)
            self._send_recorded(request_id, events, end)
            return
        if any(event.type in _BEGINS for event in events):
            self._send(frames.processing(request_id, accepted.run.conversation_id, accepted.run.id))
        missed = [item.event for item in held if isinstance(item, Stored)]
        for event in (*events, *(event for event in missed if event.seq > events[-1].seq)):
            if event.type == EventType.MODEL_REPLIED and event.content:
                self._send(frames.whole_text(request_id, event))
            elif event.type in _ENDS:
                self._follow(event, request_id, streaming=streaming)
            self._note(event)
        for asked in still_open((*events, *missed)):
            self._send(frames.waiting(request_id, ask_object(asked)))
        live = self._conversations.feed.live(accepted.run.id)
        if live is not None and streaming and live.text:
            self._send(frames.chunk(_addressed(live.as_delta(), request_id), replay=True))

    def _send_recorded(self, request_id: str, events: tuple[Event, ...], end: Event) -> None:
        replies = [event for event in events if event.type == EventType.MODEL_REPLIED and event.content]
        failures = [event for event in events if event.type == EventType.MODEL_FAILED]
        if end.type != EventType.RUN_FAILED and replies:  # of a cancelled run what was kept of it
            self._send(frames.whole_text(request_id, replies[-1]))
        self._send(frames.ended(request_id, end, failure=failures[-1] if failures else None, cached=True))

    async def _clear(self, request_id: str, conversation_id: str | None, *, delete: bool) -> None:
        old = conversation_id or self._default
        wiped = False
        if old is not None and conversation_id is not None:
            await self._conversations.get(old)
        if old is not None and delete:
            await self._conversations.erase(old)
            wiped = True
        self._default = await self._open()
        self._send(frames.cleared(request_id, new=self._default, old=old, wiped=wiped))

    async def _open(self, metadata: dict[str, object] | None = None) -> str:
        return await self._conversations.open(surface_of(self._caller, "ws"), metadata)

    # --- resume and subscribe ----------------------------------------------------------------------------------

    async def _subscribe(self, request_id: str, topic: str, *, wanted: bool) -> None:
        if topic != ALL:
            await self._conversations.get(topic)
        leave = self._subscribed.pop(topic, None)
        if leave is not None:
            leave()
        if wanted:
            self._subscribed[topic] = self._conversations.feed.listen(topic, self._listener)
        self._send(frames.done(request_id, "subscribed" if wanted else "unsubscribed"))
        if wanted:
            self._show(await open_asks(self._approvals, self._conversations, topic))

    async def _resume(self, request_id: str, wanted: actions.Resume) -> None:
        """Subscribe, then read: what happens meanwhile is held back, so there is neither a gap nor a double."""
        row = await self._conversations.get(wanted.conversation_id)
        reload = wanted.epoch is not None and wanted.epoch != self._conversations.store.epoch
        after = 0 if reload else wanted.after
        if not 0 <= after <= row.last_seq:
            raise AfterOutOfRange(last_seq=row.last_seq)
        topic = wanted.conversation_id
        stays = wanted.live or topic in self._subscribed
        if topic not in self._subscribed:
            self._subscribed[topic] = self._conversations.feed.listen(topic, self._listener)
        self._held[topic] = []
        try:
            last = await self._replay(topic, after)
            waiting = await open_asks(self._approvals, self._conversations, topic)
        finally:
            held = self._held.pop(topic, [])
        for item in held:  # what was read already is known by its seq; fragments are in the live text below
            if isinstance(item, Stored):
                last = max(last, item.event.seq)
            if not isinstance(item, Delta):
                self._hear(item)
        self._finish_resume(request_id, topic, last, live=stays, reload=reload)
        events = [item.event for item in held if isinstance(item, Stored)]
        answered = {ask_id(event.extra) for event in events if event.type in ANSWERED}
        self._show(frame for frame in waiting if ask_id(frame["chunk"]["metadata"]) not in answered)

    def _show(self, waiting: Iterable[Mapping[str, Any]]) -> None:
        for frame in waiting:
            self._send(frame)

    async def _replay(self, topic: str, after: int) -> int:
        last = after
        while events := await self._conversations.store.read(topic, after=last, limit=PAGE):
            for event in events:
                if event.seq != last + 1:  # what came before is not kept, or no longer
                    self._send(frames.retired(topic, event.seq))
                self._send(frames.event(event, event.request_id, visitor=self._caller.visitor))
                last = event.seq
            await self._outbox.room()
        self._seen[topic] = last
        return last

    def _finish_resume(self, request_id: str, topic: str, last: int, *, live: bool, reload: bool) -> None:
        active = self._conversations.scheduler.active_run(topic)
        facts: Mapping[str, Any] = {"last_seq": last, "run_id": active, "epoch": self._conversations.store.epoch}
        facts = {**facts, "reload": True} if reload else facts
        self._send(frames.done(request_id, "caught_up", conversation_id=topic, **facts))
        speaking = self._conversations.feed.live(active) if active else None
        if speaking is not None and speaking.text:
            self._send(frames.chunk(speaking.as_delta(), replay=True))
        if not live:
            self._subscribed.pop(topic)()

    # --- hearing -----------------------------------------------------------------------------------------------

    def _attach(self, run_id: str, request_id: str, *, streaming: bool) -> None:
        self._detach(run_id)
        leave = self._conversations.feed.listen(run_id, self._listener)
        self._attached[run_id] = (request_id, streaming, leave)

    def _detach(self, run_id: str) -> None:
        attached = self._attached.pop(run_id, None)
        if attached is not None:
            attached[2]()

    def _hear(self, item: Item) -> None:
        conversation_id = item.event.conversation_id if isinstance(item, Stored) else item.conversation_id
        run_id = item.event.run_id if isinstance(item, Stored) else item.run_id
        if conversation_id in self._held:
            self._held[conversation_id].append(item)
            return
        own = conversation_id in self._subscribed
        subscribed = own or (ALL in self._subscribed and not is_upkeep(conversation_id))
        if isinstance(item, Stored) and subscribed and item.event.seq > self._seen.get(conversation_id, 0):
            self._seen[conversation_id] = item.event.seq
            self._send(frames.event(item.event, item.request_id, visitor=self._caller.visitor))
        if run_id in self._held:
            self._held[run_id].append(item)
            return
        attached = self._attached.get(run_id)
        if isinstance(item, Stored):
            if attached is not None:
                self._follow(item.event, attached[0], streaming=attached[1])
            elif (own or ALL in self._subscribed) and item.event.type in ASKED:
                self._send(frames.waiting(item.request_id, ask_object(item.event)))
            self._note(item.event)
        elif attached is not None:
            self._speak(item, attached[0], streaming=attached[1])
        elif own:
            self._speak(item, item.request_id, streaming=True)

    def _note(self, event: Event) -> None:
        """What is needed of a run later on, until it has ended."""
        if event.type in _ENDS:
            self._pace.forget(event.run_id)
            self._calls.pop(event.run_id, None)
            self._failures.pop(event.run_id, None)
        elif event.type == EventType.MODEL_FAILED:
            self._failures[event.run_id] = event
        elif event.type == EventType.MODEL_REPLIED and self._tool_notices.show_args:
            self._calls[event.run_id] = event.tool_calls

    def _follow(self, event: Event, request_id: str, *, streaming: bool) -> None:
        """A stored event of a run that answers this socket."""
        if event.type in _BEGINS:
            self._send(frames.processing(request_id, event.conversation_id, event.run_id))
        elif event.type == EventType.MODEL_REPLIED and event.content:
            thinned = self._outbox.was_thinned(event.run_id, event.turn, event.extra["attempt"])
            if thinned or not streaming:
                self._send(frames.whole_text(request_id, event, replay=thinned))
        elif event.type in ASKED:
            self._send(frames.waiting(request_id, ask_object(event)))
        elif event.type in _ENDS:
            self._send(frames.ended(request_id, event, failure=self._failures.get(event.run_id)))
            self._detach(event.run_id)

    def _speak(
        self, item: Delta | Restarted | ToolsAnnounced | Progressed, request_id: str | None, *, streaming: bool
    ) -> None:
        if isinstance(item, Delta):
            if streaming and (item.kind == "text" or self._show_thinking):
                self._outbox.put_delta(_addressed(item, request_id))
        elif isinstance(item, Restarted):
            if streaming:
                self._send(frames.restarted(item))
        elif self._tool_notices.enabled:
            if isinstance(item, ToolsAnnounced):
                self._send(frames.tools_announced(item, self._tool_notices, self._calls.get(item.run_id, ())))
            elif self._pace.is_due(item, self._clock.monotonic()):
                self._send(frames.progressed(replace(item, request_id=request_id)))

    def _send(self, frame: Mapping[str, Any]) -> None:
        shown = frames.plain(frame) if self._outbox.plain else frame
        if shown is not None:
            self._outbox.put(frames.render(shown))


def _addressed(delta: Delta, request_id: str | None) -> Delta:
    return delta if delta.request_id == request_id else replace(delta, request_id=request_id)
