"""The actions a client may send over the WebSocket: their payloads, read strictly.

One function per action turns a payload into what the agent is asked to do; anything unexpected is refused with a
message that names the key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom import ids
from tom.agent import strictjson
from tom.agent.attachments import Attachment, Given, checked_attachments
from tom.agent.decisions import ANSWER_KEYS, DECISION_KEYS, Decision, Unfit, read_answer, read_decision
from tom.agent.options import Choices, checked_options
from tom.agent.prompting import PromptWish
from tom.agent.submission import Submission, checked_id, checked_metadata, checked_text
from tom.conversation.elicitation import ElicitationAnswer
from tom.errors import InvalidArguments, InvalidJson, InvalidMessage, ModelHasNoVision, UnknownAction

BUSY = ("queue", "reject", "interrupt")
LONGEST_PROMPT = 256


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
class Approve:
    """The person's word on one approval."""

    approval_id: str
    word: Decision


@dataclass(frozen=True, slots=True)
class Answer:
    """The person's answer to one question of a service."""

    elicitation_id: str
    answer: ElicitationAnswer


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


type Action = Chat | Stop | Resume | Subscribe | Approve | Answer | Retry | New | Clear | Ping


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


def read_action(envelope: Envelope, choices: Choices) -> Action:
    """Read the payload. Raises the `CallerError` that names what is wrong."""
    known, reader = READERS[envelope.action]
    if envelope.action != "ping":
        for key in envelope.payload:
            if key not in known:
                message = f"Invalid message format: payload.{key}: unknown key. Known: {', '.join(sorted(known))}"
                raise InvalidMessage(message)
    return reader(envelope, choices)


def _chat(envelope: Envelope, choices: Choices) -> Action:
    text = checked_text(envelope.payload.get("text"), "payload.text")
    return Chat(_submission(envelope, choices, text), _flag(envelope.payload, "streaming", None))


def _prompt(envelope: Envelope, choices: Choices) -> Action:
    payload = envelope.payload
    name = payload.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_PROMPT or not name.isprintable():
        message = "Invalid message format: payload.name: the name of a prompt is required"
        raise InvalidMessage(message)
    wish = PromptWish(name, _prompt_arguments(payload.get("arguments", {})))
    text = checked_text(payload["text"], "payload.text") if "text" in payload else wish.typed()
    return Chat(_submission(envelope, choices, text, wish), _flag(payload, "streaming", None))


def _submission(envelope: Envelope, choices: Choices, text: str, prompt: PromptWish | None = None) -> Submission:
    payload = envelope.payload
    conversation_id = payload.get("conversation_id")
    return Submission(
        text=text,
        request_id=envelope.request_id or f"auto-{ids.ulid()}",
        surface="ws",
        conversation_id=None if conversation_id is None else checked_id(conversation_id, "conversation_id"),
        options=checked_options(payload.get("options", {}), choices),
        metadata=checked_metadata(payload.get("metadata", {})),
        attachments=_attachments(payload.get("attachments", []), choices),
        prompt=prompt,
        if_busy=_one_of(payload, "if_busy", BUSY),
    )


def _attachments(value: Any, choices: Choices) -> tuple[Attachment, ...]:
    attachments = checked_attachments(value, choices.services)
    if not choices.vision and any(isinstance(one, Given) and one.enclosed.kind == "image" for one in attachments):
        raise ModelHasNoVision
    return attachments


def _prompt_arguments(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        message = "The arguments of a prompt are an object"
        raise InvalidArguments(message)
    arguments = cast("dict[str, Any]", value)
    for name, text in arguments.items():
        if not isinstance(text, str) or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in name + text):
            message = f"The argument '{name[:128]!a}' must be a text"
            raise InvalidArguments(message)
    return arguments


def _approve(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001 - one signature for all
    approval_id = checked_id(envelope.payload.get("approval_id"), "payload.approval_id")
    try:
        return Approve(approval_id, read_decision(envelope.payload))
    except Unfit as unfit:
        raise _unfit(unfit) from None


def _answer(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
    elicitation_id = checked_id(envelope.payload.get("elicitation_id"), "payload.elicitation_id")
    try:
        return Answer(elicitation_id, read_answer(envelope.payload))
    except Unfit as unfit:
        raise _unfit(unfit) from None


def _unfit(unfit: Unfit) -> InvalidMessage:
    return InvalidMessage(f"Invalid message format: payload.{unfit}")


def _stop(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001 - one signature for all
    payload = envelope.payload
    run_id = payload.get("run_id")
    return Stop(
        checked_id(payload.get("conversation_id"), "conversation_id"),
        None if run_id is None else checked_id(run_id, "payload.run_id"),
        bool(_flag(payload, "queued", default=False)),
    )


def _resume(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
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


def _subscription(*, wanted: bool) -> Callable[[Envelope, Choices], Action]:
    def read(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
        topic = envelope.payload.get("conversation_id")
        return Subscribe("*" if topic == "*" else checked_id(topic, "conversation_id"), wanted)

    return read


def _retry(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
    payload = envelope.payload
    return Retry(
        checked_id(payload.get("conversation_id"), "conversation_id"),
        checked_id(payload.get("run_id"), "payload.run_id"),
    )


def _new(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
    return New(checked_metadata(envelope.payload.get("metadata", {})))


def _clear(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
    conversation_id = envelope.payload.get("conversation_id")
    return Clear(
        None if conversation_id is None else checked_id(conversation_id, "conversation_id"),
        bool(_flag(envelope.payload, "delete", default=False)),
    )


def _ping(envelope: Envelope, choices: Choices) -> Action:  # noqa: ARG001
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


type _Reader = Callable[[Envelope, Choices], Action]

_SAID = frozenset({"conversation_id", "streaming", "options", "metadata", "attachments", "if_busy"})

READERS: Mapping[str, tuple[frozenset[str], _Reader]] = {
    "chat": (_SAID | {"text"}, _chat),
    "prompt": (_SAID | {"text", "name", "arguments"}, _prompt),
    "approve": (DECISION_KEYS | {"approval_id"}, _approve),
    "answer": (ANSWER_KEYS | {"elicitation_id"}, _answer),
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
