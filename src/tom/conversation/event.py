"""Events: immutable stored facts, past tense, numbered 1..n without holes in their conversation.

An `Event` has the columns of the table ``chat_events``. The store gives it ``id``, ``seq`` and ``timestamp``; until
then they are empty. Each function below makes one type of event: they are the whole vocabulary, and the only
places that know what an event carries; those about asks are in `asks.py`, those about upkeep in `upkeep.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tom.conversation.label import CLEAN, Label, label_of
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import Usage, estimate_tokens

MESSAGE_OVERHEAD = 3
"""Tokens that a message costs besides its text (role, separators)."""


class EventType(StrEnum):
    """The types that this version writes. Types of a newer version are kept and passed on unread."""

    CONVERSATION_OPENED = "conversation.opened"
    PROMPT_SET = "prompt.set"
    MESSAGE_RECEIVED = "message.received"
    RUN_RETRIED = "run.retried"
    RUN_STARTED = "run.started"
    RUN_RESUMED = "run.resumed"
    MODEL_REPLIED = "model.replied"
    MODEL_FAILED = "model.failed"
    TOOL_CALLED = "tool.called"
    TOOL_RETURNED = "tool.returned"
    TOOL_UNRESOLVED = "tool.unresolved"
    RUN_WAITING = "run.waiting"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_ANSWERED = "approval.answered"
    ELICITATION_REQUESTED = "elicitation.requested"
    ELICITATION_ANSWERED = "elicitation.answered"
    TRIAGE_DECIDED = "triage.decided"
    LLM_FELL_BACK = "llm.fell_back"
    CONVERSATION_CHANGED = "conversation.changed"
    HISTORY_COMPACTED = "history.compacted"
    HISTORY_RETIRED = "history.retired"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. ``extra`` holds JSON values; ``usage`` is set where tokens were spent."""

    conversation_id: str
    type: str
    id: str = ""
    seq: int = 0
    timestamp: str = ""
    role: str | None = None
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token_count: int = 0
    request_id: str | None = None

    @property
    def run_id(self) -> str:
        """The run this belongs to; empty for events of the conversation itself."""
        return self.extra.get("run_id", "")

    @property
    def turn(self) -> int:
        """The turn within the run, from 0."""
        return self.extra.get("turn", 0)

    @property
    def label(self) -> Label:
        """Where its text came from."""
        return label_of(self.extra)

    def stored(self, *, event_id: str, seq: int, timestamp: str) -> "Event":
        """The same fact as the store wrote it."""
        # Written out, because `dataclasses.replace` takes twice as long and this is done for every event.
        return Event(
            conversation_id=self.conversation_id,
            type=self.type,
            id=event_id,
            seq=seq,
            timestamp=timestamp,
            role=self.role,
            content=self.content,
            tool_calls=self.tool_calls,
            tool_call_id=self.tool_call_id,
            model=self.model,
            usage=self.usage,
            extra=self.extra,
            token_count=self.token_count,
            request_id=self.request_id,
        )


def _counted(text: str) -> int:
    return estimate_tokens(text) + MESSAGE_OVERHEAD


def conversation_opened(
    conversation_id: str,
    *,
    surface: str,
    metadata: Mapping[str, Any] | None = None,
    kind: str = "chat",
    memory_limit: int | None = None,
) -> Event:
    """A conversation began at ``surface`` (``ws``, ``web``, ``android``, ``tui``, ``pwa``, ``rest``, ``api``).

    ``kind``: ``chat``, or ``api`` for a call that is kept for a while only. ``memory_limit`` bounds the messages of a
    window.
    """
    extra = {"kind": kind, "surface": surface, "memory_limit": memory_limit, "metadata": dict(metadata or {})}
    return Event(conversation_id=conversation_id, type=EventType.CONVERSATION_OPENED, extra=extra)


def prompt_set(
    conversation_id: str,
    text: str,
    *,
    run_id: str = "",
    request_id: str | None = None,
    payload_digest: str = "",
    surface: str = "",
    options: Mapping[str, Any] | None = None,
) -> Event:
    """An instruction holds from here on; with ``run_id`` it was sent as a message, which that run answers."""
    extra: dict[str, Any] = {}
    if run_id:
        extra = {"run_id": run_id, "payload_digest": payload_digest, "surface": surface}
        if options:
            extra["options"] = dict(options)
    return Event(
        conversation_id=conversation_id,
        type=EventType.PROMPT_SET,
        role="system",
        content=text,
        extra=extra,
        token_count=_counted(text),
        request_id=request_id,
    )


def message_received(
    conversation_id: str,
    text: str,
    *,
    run_id: str,
    request_id: str,
    payload_digest: str,
    surface: str,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
    label: Label = CLEAN,
    role: str = "user",
    prior: Sequence[Mapping[str, Any]] = (),
    client_tools: Sequence[Mapping[str, Any]] = (),
) -> Event:
    """A person's message was accepted, and with it the run ``run_id`` that answers it.

    ``attachments`` describe what came with it (the bytes are files of the conversation); ``label`` is theirs.
    ``role`` is ``user``, or ``assistant`` for a reply that was given elsewhere. ``prior`` is what was said before, as the
    client tells it (`history.continued`); ``client_tools`` are tools that the client itself calls, as
    ``{"name", "description", "parameters"}``.
    """
    extra: dict[str, Any] = {"run_id": run_id, "payload_digest": payload_digest, "surface": surface}
    if options:
        extra["options"] = dict(options)
    if metadata:
        extra["metadata"] = dict(metadata)
    if attachments:
        extra["attachments"] = [dict(attachment) for attachment in attachments]
    if prior:
        extra["prior"] = [dict(entry) for entry in prior]
    if client_tools:
        extra["client_tools"] = [dict(tool) for tool in client_tools]
    if label != CLEAN:
        extra |= {"taint": label.tainted, "label": label.as_json()}
    return Event(
        conversation_id=conversation_id,
        type=EventType.MESSAGE_RECEIVED,
        role=role,
        content=text,
        extra=extra,
        token_count=_counted(text),
        request_id=request_id,
    )


def run_retried(conversation_id: str, *, run_id: str, retry_of: str, request_id: str) -> Event:
    """The message of the failed or cancelled run ``retry_of`` is to be answered again, by ``run_id``."""
    extra = {"run_id": run_id, "retry_of": retry_of}
    return Event(conversation_id=conversation_id, type=EventType.RUN_RETRIED, extra=extra, request_id=request_id)


def run_started(conversation_id: str, *, run_id: str, level: int, services: Sequence[str]) -> Event:
    """The run left the queue."""
    extra = {"run_id": run_id, "level": level, "services": list(services)}
    return Event(conversation_id=conversation_id, type=EventType.RUN_STARTED, extra=extra)


def run_resumed(conversation_id: str, *, run_id: str) -> Event:
    """An interrupted run goes on after a restart; what its model was saying is asked for again."""
    return Event(conversation_id=conversation_id, type=EventType.RUN_RESUMED, extra={"run_id": run_id})


def model_replied(
    conversation_id: str,
    text: str,
    *,
    run_id: str,
    turn: int,
    attempt: int,
    finish_reason: str,
    model: str,
    usage: Usage,
    tool_calls: tuple[ToolCall, ...] = (),
    thinking: str = "",
    partial: bool = False,
    label: Label = CLEAN,
    dropped_options: tuple[str, ...] = (),
    handed: Collection[str] = (),
) -> Event:
    """A model's reply ended well, or (``partial``) was kept as far as it had been shown when the run was stopped.

    ``label`` is that of everything that was in its prompt: what its calls may do is judged by it. ``dropped_options``
    names what the person wished for and the model does not support; ``handed`` names the tools among those called that
    the client calls itself: the run ends when all the others have their results. An approval is for one call, known by its id: where
    a model gives the same id twice, the later one is told apart.
    """
    extra: dict[str, Any] = {"run_id": run_id, "turn": turn, "attempt": attempt, "finish_reason": finish_reason}
    if thinking:
        extra["thinking"] = thinking
    if partial:
        extra["partial"] = True
    if dropped_options:
        extra["dropped_options"] = list(dropped_options)
    if label != CLEAN:
        extra |= {"taint": label.tainted, "label": label.as_json()}
    tool_calls = _told_apart(tool_calls)
    if theirs := [call.id for call in tool_calls if call.name in handed]:
        extra["handed"] = theirs
    written = text + "".join(call.name + call.arguments for call in tool_calls)
    return Event(
        conversation_id=conversation_id,
        type=EventType.MODEL_REPLIED,
        role="assistant",
        content=text,
        tool_calls=tool_calls,
        model=model,
        usage=usage,
        extra=extra,
        token_count=_counted(written),
    )


def _told_apart(calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """The calls with distinct ids, in their order."""
    if len({call.id for call in calls}) == len(calls):
        return calls
    apart: dict[str, ToolCall] = {}
    for call in calls:
        name, count = call.id, 1
        while name in apart:
            count += 1
            name = f"{call.id}~{count}"
        apart[name] = ToolCall(name, call.name, call.arguments)
    return tuple(apart.values())


def model_failed(
    conversation_id: str,
    *,
    run_id: str,
    turn: int,
    attempt: int,
    code: str,
    retryable: bool,
    usage: Usage | None = None,
) -> Event:
    """One attempt at a reply failed; ``usage`` is what it cost all the same."""
    extra = {"run_id": run_id, "turn": turn, "attempt": attempt, "code": code, "retryable": retryable}
    return Event(conversation_id=conversation_id, type=EventType.MODEL_FAILED, extra=extra, usage=usage)


def tool_called(
    conversation_id: str,
    *,
    run_id: str,
    turn: int,
    call_id: str,
    service: str,
    tool: str,
    arguments: Mapping[str, Any],
    digest: str,
    tool_class: ToolClass,
    key: str,
    pin: str = "",
    verdict: str = "allow",
    reason: str = "",
    approval_id: str = "",
) -> Event:
    """A tool is about to be called: written, and synced, *before* the call.

    ``pin`` is the tool's; ``verdict`` and ``reason`` are the policy's; ``approval_id`` names the yes on which it rests, where one was asked.
    """
    extra: dict[str, Any] = {
        "run_id": run_id,
        "turn": turn,
        "service": service,
        "tool": tool,
        "arguments": dict(arguments),
        "digest": digest,
        "class": str(tool_class),
        "key": key,
        "pin": pin,
        "verdict": verdict,
    }
    extra |= {name: value for name, value in (("reason", reason), ("approval_id", approval_id)) if value}
    return Event(conversation_id=conversation_id, type=EventType.TOOL_CALLED, tool_call_id=call_id, extra=extra)


def tool_returned(
    conversation_id: str,
    content: str,
    *,
    run_id: str,
    turn: int,
    call_id: str,
    is_error: bool,
    duration_ms: int,
    tool: ToolDefinition | None = None,
    truncated: bool = False,
    bad_call: bool = False,
    denied: str = "",
    data: Mapping[str, Any] | None = None,
    label: Label = CLEAN,
    attachments: Sequence[Mapping[str, Any]] = (),
) -> Event:
    """A call's result came back, or the call was answered without being made (unknown tool, refused, bad input).

    ``bad_call`` marks arguments that were not JSON at all: a model that cannot write a call ends its run. ``denied`` is
    the ground on which the policy or the person refused it; ``data`` tells what was wrong with its arguments. ``label`` says where ``content`` came from; ``attachments``
    describe pictures among it, kept as files of the conversation.
    """
    extra: dict[str, Any] = {"run_id": run_id, "turn": turn, "is_error": is_error, "duration_ms": duration_ms}
    if tool is not None:
        extra |= {"service": tool.service, "tool": tool.tool, "class": str(tool.tool_class), "taint": label.tainted}
    if label != CLEAN:
        extra["label"] = label.as_json()
    if denied:
        extra["denied"] = denied
    if data:
        extra["data"] = dict(data)
    if attachments:
        extra["attachments"] = [dict(attachment) for attachment in attachments]
    if truncated:
        extra["truncated"] = True
    if bad_call:
        extra["bad_call"] = True
    return Event(
        conversation_id=conversation_id,
        type=EventType.TOOL_RETURNED,
        role="tool",
        content=content,
        tool_call_id=call_id,
        extra=extra,
        token_count=_counted(content),
    )


def tool_unresolved(
    conversation_id: str, content: str, *, run_id: str, turn: int, call_id: str, service: str, tool: str
) -> Event:
    """Whether the call happened cannot be known; ``content`` says so to the person and to the model."""
    extra = {"run_id": run_id, "turn": turn, "service": service, "tool": tool}
    return Event(
        conversation_id=conversation_id,
        type=EventType.TOOL_UNRESOLVED,
        role="tool",
        content=content,
        tool_call_id=call_id,
        extra=extra,
        token_count=_counted(content),
    )


def run_completed(
    conversation_id: str,
    *,
    run_id: str,
    usage: Usage,
    finish_reason: str,
    hops: int,
    more: Mapping[str, Any] | None = None,
) -> Event:
    """The run is over and was answered; ``hops`` turns were taken.

    ``more``: what else is to be told of the answer: ``warnings``, ``text_tts``, ``speech_usage`` (what wording it has
    cost beside ``usage``), ``new_conversation_id``.
    """
    extra: dict[str, Any] = {"run_id": run_id, "finish_reason": finish_reason, "hops": hops, **(more or {})}
    return Event(conversation_id=conversation_id, type=EventType.RUN_COMPLETED, usage=usage, extra=extra)


def run_failed(conversation_id: str, *, run_id: str, usage: Usage, code: str, reason: str) -> Event:
    """The run is over without an answer; ``code`` is the stable one, ``reason`` a sentence for people."""
    extra = {"run_id": run_id, "code": code, "reason": reason}
    return Event(conversation_id=conversation_id, type=EventType.RUN_FAILED, usage=usage, extra=extra)


def run_cancelled(conversation_id: str, *, run_id: str, usage: Usage, reason: str) -> Event:
    """The run was stopped by its person."""
    extra = {"run_id": run_id, "code": "cancelled", "reason": reason}
    return Event(conversation_id=conversation_id, type=EventType.RUN_CANCELLED, usage=usage, extra=extra)
