"""The actions a client may send over the WebSocket: their payloads, read strictly.

One function per action turns a payload into what the agent is asked to do; anything unexpected is refused with a
message that names the key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom import ids
from tom.agent import strictjson
from tom.agent.submission import (
    Submission,
    checked_id,
    checked_metadata,
    checked_options,
    checked_text,
)
from tom.errors import InvalidJson, InvalidMessage, UnknownAction

BUSY = ("queue", "reject", "interrupt")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One frame of a client. ``request_id`` is empty when it sent none."""

    action: str
    request_id: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chat:
    """Say something."""

    message: Submission
    streaming: bool | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel the active run."""

    conversation_id: str
    run_id: str | None
    queued: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Replay the events after ``after`` and stay."""

    conversation_id: str
    after: int
    live: bool
    epoch: str | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Event frames on or off; ``conversation_id`` may be ``*``."""

    conversation_id: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """Answer the message of a failed or cancelled run again."""

    conversation_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class New:
    """Open a conversation and make it this socket's default."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clear:
    """The next message goes to a new conversation."""

    conversation_id: str | None
    delete: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


type Action = Chat | Stop | Resume | Subscribe | Retry | New | Clear | Ping


def read_envelope(text: str) -> Envelope:
    """Read a frame. Raises `InvalidJson` or `UnknownAction`."""
    try:
        value = strictjson.parse_json(text)
    except (ValueError, RecursionError):
        raise InvalidJson from None
    if not isinstance(value, dict):
        raise InvalidJson
    frame = cast("dict[str, Any]", value)
    request_id = frame.get("request_id")
    request_id = checked_id(request_id, "request_id") if request_id is not None else ""
    action = frame.get("action", "chat" if frame.get("message_type") == "chat" else None)
    if not isinstance(action, str) or action not in READERS:
        raise UnknownAction(actions=sorted(READERS))
    payload = frame.get("payload", {})
    if not isinstance(payload, dict):
        message = "Invalid message format: payload: an object is required"
        raise InvalidMessage(message)
    return Envelope(action, request_id, payload)  # pyright: ignore[reportUnknownArgumentType] - JSON


def request_id_of(text: str) -> str | None:
    """The request id of a frame that was refused, as far as it can be read."""
    try:
        value = strictjson.parse_json(text)
        return checked_id(value["request_id"], "request_id")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, there is no id then
        return None


def read_action(envelope: Envelope, services: frozenset[str]) -> Action:
    """Read the payload. Raises the `CallerError` that names what is wrong."""
    known, reader = READERS[envelope.action]
    if envelope.action != "ping":
        for key in envelope.payload:
            if key not in known:
                message = f"Invalid message format: payload.{key}: unknown key. Known: {', '.join(sorted(known))}"
                raise InvalidMessage(message)
    return reader(envelope, services)


def _chat(envelope: Envelope, services: frozenset[str]) -> Action:
    payload = envelope.payload
    conversation_id = payload.get("conversation_id")
    message = Submission(
        text=checked_text(payload.get("text"), "payload.text"),
        request_id=envelope.request_id or f"auto-{ids.ulid()}",
        surface="ws",
        conversation_id=None if conversation_id is None else checked_id(conversation_id, "conversation_id"),
        options=checked_options(payload.get("options", {}), services),
        metadata=checked_metadata(payload.get("metadata", {})),
        if_busy=_one_of(payload, "if_busy", BUSY),
    )
    return Chat(message, _flag(payload, "streaming", None))


def _stop(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001 - one signature for all
    payload = envelope.payload
    run_id = payload.get("run_id")
    return Stop(
        checked_id(payload.get("conversation_id"), "conversation_id"),
        None if run_id is None else checked_id(run_id, "payload.run_id"),
        bool(_flag(payload, "queued", default=False)),
    )


def _resume(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
    payload = envelope.payload
    after = payload.get("after", 0)
    if not isinstance(after, int) or isinstance(after, bool):
        after = -1  # answered as out of range, with the last seq, once the conversation is known
    epoch = payload.get("epoch")
    if epoch is not None and not isinstance(epoch, str):
        message = "Invalid message format: payload.epoch: a text is required"
        raise InvalidMessage(message)
    conversation_id = checked_id(payload.get("conversation_id"), "conversation_id")
    return Resume(conversation_id, after, bool(_flag(payload, "live", default=True)), epoch)


def _subscription(*, wanted: bool) -> Callable[[Envelope, frozenset[str]], Action]:
    def read(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
        topic = envelope.payload.get("conversation_id")
        return Subscribe("*" if topic == "*" else checked_id(topic, "conversation_id"), wanted)

    return read


def _retry(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
    payload = envelope.payload
    return Retry(
        checked_id(payload.get("conversation_id"), "conversation_id"),
        checked_id(payload.get("run_id"), "payload.run_id"),
    )


def _new(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
    return New(checked_metadata(envelope.payload.get("metadata", {})))


def _clear(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
    conversation_id = envelope.payload.get("conversation_id")
    return Clear(
        None if conversation_id is None else checked_id(conversation_id, "conversation_id"),
        bool(_flag(envelope.payload, "delete", default=False)),
    )


def _ping(envelope: Envelope, services: frozenset[str]) -> Action:  # noqa: ARG001
    return Ping()


def _flag(payload: Mapping[str, Any], key: str, default: bool | None) -> bool | None:
    value = payload.get(key, default)
    if value is not default and not isinstance(value, bool):
        message = f"Invalid message format: payload.{key}: true or false is required"
        raise InvalidMessage(message)
    return value


def _one_of(payload: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = payload.get(key, allowed[0])
    if value not in allowed:
        message = f"Invalid message format: payload.{key}: one of {', '.join(allowed)} is required"
        raise InvalidMessage(message)
    return value


type _Reader = Callable[[Envelope, frozenset[str]], Action]

READERS: Mapping[str, tuple[frozenset[str], _Reader]] = {
    "chat": (
        frozenset({"text", "conversation_id", "streaming", "options", "metadata", "if_busy"}),
        _chat,
    ),
    "stop": (frozenset({"conversation_id", "run_id", "queued"}), _stop),
    "resume": (frozenset({"conversation_id", "after", "live", "epoch"}), _resume),
    "subscribe": (frozenset({"conversation_id"}), _subscription(wanted=True)),
    "unsubscribe": (frozenset({"conversation_id"}), _subscription(wanted=False)),
    "retry": (frozenset({"conversation_id", "run_id"}), _retry),
    "new": (frozenset({"metadata"}), _new),
    "clear": (frozenset({"conversation_id", "delete"}), _clear),
    "clear_session": (frozenset({"conversation_id", "delete"}), _clear),
    "ping": (frozenset(), _ping),
}
"""Action -> (known payload keys, reader)."""
