"""What a door submits, checked once for all doors."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.agent.attachments import Attachment
from tom.agent.prompt import Circumstances
from tom.agent.prompting import PromptWish
from tom.errors import InvalidConversationId, InvalidMessage, MetadataTooLarge, TextTooLong

MAX_TEXT = 200_000
MAX_METADATA = 16_384
OF_THE_ANSWER = frozenset({"sound"})
"""Options that say how the answer is given; a repetition may wish for another way."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Submission:
    """One message as a door hands it in. ``conversation_id`` None: the door knows none.

    ``prompt`` is a service's prompt to be put in front; one that is typed (``/service:prompt``) stays in the text.
    ``existing``: a conversation that is not there is not opened. ``memory_limit`` bounds this request's window only.
    ``kind`` is that of a conversation that is opened by it. ``instructions``, ``prior`` and ``client_tools`` come with calls
    of `/v1`: what the client sets before, what it tells of earlier messages (`conversation.history.continued`), and the
    tools that it calls itself. ``sent`` is the digest of what such a client sent, of which only what is new is submitted.
    """

    text: str
    request_id: str
    surface: str
    conversation_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attachments: tuple[Attachment, ...] = ()
    prompt: PromptWish | None = None
    if_busy: str = "queue"
    role: str = "user"
    memory_limit: int | None = None
    kind: str = "chat"
    existing: bool = False
    instructions: tuple[str, ...] = ()
    prior: tuple[Mapping[str, Any], ...] = ()
    client_tools: tuple[Mapping[str, Any], ...] = ()
    sent: str = ""
    around: Circumstances = field(default_factory=Circumstances)

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The options as they are stored with the message."""
        return self.options if self.memory_limit is None else {**self.options, "memory_limit": self.memory_limit}

    @property
    def digest(self) -> str:
        """SHA-256 of what the client sent and the run will depend on: text, options, attachments, prompt.

        Not of what services answer: a repetition is one also when a resource has changed meanwhile.
        """
        if self.sent:
            return self.sent
        options = {name: value for name, value in self.options.items() if name not in OF_THE_ANSWER}
        said: list[Any] = [self.text, options]
        if self.attachments or self.prompt is not None:
            said.append([attachment.identity for attachment in self.attachments])
        if self.prompt is not None:
            said.append([self.prompt.name, dict(self.prompt.arguments)])
        beside = {
            "role": self.role if self.role != "user" else None,
            "memory_limit": self.memory_limit,
            "instructions": list(self.instructions),
            "prior": [dict(entry) for entry in self.prior],
            "client_tools": [dict(tool) for tool in self.client_tools],
        }
        if any(beside.values()):
            said.append({name: value for name, value in beside.items() if value})
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def checked_id(value: Any, name: str) -> str:
    """A conversation or request id. Raises `InvalidConversationId` or `InvalidMessage`."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    if name == "conversation_id":
        raise InvalidConversationId
    message = f"Invalid message format: {name}: 1 to 128 letters, digits, '.', '_', ':' or '-'"
    raise InvalidMessage(message)


def checked_text(value: Any, name: str, limit: int = MAX_TEXT) -> str:
    """A person's text. Raises `InvalidMessage` or `TextTooLong`."""
    if not isinstance(value, str) or not value.strip():
        message = f"Invalid message format: {name}: a text is required"
        raise InvalidMessage(message)
    if len(value) > limit:
        message = f"The text is longer than {limit} characters."
        raise TextTooLong(message, limit=limit)
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        message = f"Invalid message format: {name}: NUL and lone surrogates are not text"
        raise InvalidMessage(message)
    return value


def checked_metadata(value: Any) -> Mapping[str, Any]:
    """A JSON object of at most 16 KiB. Raises `InvalidMessage` or `MetadataTooLarge`."""
    if not isinstance(value, dict):
        message = "Invalid message format: payload.metadata: an object is required"
        raise InvalidMessage(message)
    try:
        size = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        message = "Invalid message format: payload.metadata: lone surrogates are not text"
        raise InvalidMessage(message) from None
    if size > MAX_METADATA:
        message = f"The metadata is larger than {MAX_METADATA} bytes."
        raise MetadataTooLarge(message, limit=MAX_METADATA)
    return cast("dict[str, Any]", value)
