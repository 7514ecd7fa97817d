"""The body of a message to a session, read strictly: what is wrong is named, and never repeated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from tom import ids
from tom.agent.attachments import Attachment, Given, checked_attachments
from tom.agent.decisions import Unfit
from tom.agent.options import OPTIONS, Choices, check_permitted, checked_options
from tom.agent.prompt import Circumstances
from tom.agent.rest_faults import InvalidBody, check_fields, check_maximum, invalid, read_memory_limit, read_metadata
from tom.agent.submission import Submission, checked_id, checked_text
from tom.errors import (
    InvalidMessage,
    InvalidOption,
    ModelHasNoVision,
    ModelNotAllowed,
    OptionConflict,
    RequestIdConflict,
    RoleNotAllowed,
    TomError,
)
from tom.policy.permissions import Caller, Scope

FIELDS = ("content", "role", "memory_limit", "options", "request_id", "attachments", "metadata", "if_busy")
ROLES = ("user", "system", "assistant")
BUSY = ("queue", "reject", "interrupt")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as it was sent; ``conflict`` is what the settings have against its options."""

    content: str
    role: str
    request_id: str
    if_busy: str
    memory_limit: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attachments: tuple[Attachment, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    conflict: TomError | None = None

    def check(self, caller: Caller, maximum: int) -> None:
        """Whether the caller may send this, and whether it can be.

        Raises `RoleNotAllowed`, `OptionNotAllowed`, `InvalidMemoryLimit`, `ModelNotAllowed` or `OptionConflict`.
        """
        if self.role != "user" and not caller.may(Scope.ROLES):
            message = f"The role '{self.role}' may not be used."
            raise RoleNotAllowed(message, role=self.role)
        check_permitted(self.options, caller)
        if self.memory_limit is not None:
            check_maximum(self.memory_limit, maximum)
        if self.conflict is not None:
            raise self.conflict

    def submission(self, session_id: str) -> Submission:
        """As all doors hand it in."""
        return Submission(
            text=self.content,
            request_id=self.request_id,
            surface="rest",
            conversation_id=session_id,
            existing=True,
            role=self.role,
            memory_limit=self.memory_limit,
            options=self.options,
            attachments=self.attachments,
            metadata=self.metadata,
            if_busy=self.if_busy,
            around=Circumstances(surface="rest"),
        )


def read_message(given: Mapping[str, Any], request: Request, choices: Choices) -> NewMessage:
    """Read the body. Raises `InvalidBody`, `TextTooLong`, `MetadataTooLarge`, what attachments raise, `RequestIdConflict`."""
    try:
        content = _content(given)
        check_fields(given, FIELDS)
        options, conflict = _options(given.get("options", {}), choices)
        return NewMessage(
            content=content,
            role=_one_of(given, "role", ROLES),
            request_id=request_id_of(given, request),
            if_busy=_one_of(given, "if_busy", BUSY),
            memory_limit=read_memory_limit(given),
            options=options,
            attachments=_attachments(given.get("attachments", []), choices),
            metadata=read_metadata(given) or {},
            conflict=conflict,
        )
    except Unfit as unfit:
        raise invalid(unfit) from None


def request_id_of(given: Mapping[str, Any], request: Request) -> str:
    """The id of the request: of the body, or of the header ``Idempotency-Key``, or one that is made.

    Raises `InvalidBody`, and `RequestIdConflict` when both are given and differ.
    """
    named, key = given.get("request_id"), request.headers.get("idempotency-key")
    if "request_id" in given:
        _check_id(named, "request_id", "body")
    if key is not None:
        _check_id(key, "Idempotency-Key", "header")
    if "request_id" in given and key is not None and key != named:
        raise RequestIdConflict
    return str(named if "request_id" in given else key or f"auto-{ids.ulid()}")


def _check_id(value: object, name: str, place: str) -> None:
    try:
        checked_id(value, name)
    except InvalidMessage as error:
        raise invalid(Unfit(name, _problem(error)), place) from None


def _content(given: Mapping[str, Any]) -> str:
    if "content" not in given:
        unfit = Unfit("content", "field required", "missing")
        raise invalid(unfit, **({"hint": "Use content."} if "message" in given else {}))
    if not isinstance(given["content"], str):
        raise Unfit("content", "a text is required", "type_error")
    try:
        return checked_text(given["content"], "content")
    except InvalidMessage as error:
        raise Unfit("content", _problem(error)) from None


def _problem(error: InvalidMessage) -> str:
    """What is wrong, without the words of the WebSocket around it."""
    return error.message.rpartition(": ")[2]


def _one_of(given: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = given.get(name, allowed[0])
    if not isinstance(value, str) or value not in allowed:
        raise Unfit(name, f"one of {', '.join(allowed)} is required")
    return value


def _options(value: Any, choices: Choices) -> tuple[Mapping[str, Any], TomError | None]:
    """The options, and what the settings have against them: that is told after existence and rights were looked at."""
    try:
        return checked_options(value, choices), None
    except (OptionConflict, ModelNotAllowed) as conflict:
        return value, conflict
    except InvalidOption as error:
        raise _unfit_option(error) from None


def _unfit_option(error: InvalidOption) -> InvalidBody:
    named: dict[str, Any] = dict(error.details)
    option = str(named.pop("option", ""))
    place = f"options.{option}" if option.isprintable() and option else "options"
    unknown = bool(option) and option not in OPTIONS
    return invalid(Unfit(place, error.message, "extra_forbidden" if unknown else "value_error"), **named)


def _attachments(value: Any, choices: Choices) -> tuple[Attachment, ...]:
    attachments = checked_attachments(value, choices.services)
    if not choices.vision and any(isinstance(one, Given) and one.enclosed.kind == "image" for one in attachments):
        raise ModelHasNoVision
    return attachments
