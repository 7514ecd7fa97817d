"""The ``messages`` of an OpenAI client: instructions, what was said before, what is said now. Read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom.agent.attachments import MOST, Given, checked_attachments
from tom.agent.submission import MAX_TEXT
from tom.errors import CallerError, InvalidAttachment, TextTooLong

INSTRUCTING = frozenset({"system", "developer"})
_ROLES = ("system", "developer", "user", "assistant", "tool")
_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "annotations"})
_MEDIA_TYPES = {"image/jpg": "image/jpeg"}
"""What clients write, and what it is called."""

type Call = Mapping[str, str]
"""``{"id", "name", "arguments"}``."""


class InvalidParameter(CallerError):
    """A parameter does not have the form that it must have."""

    code = "validation_error"


class UnsupportedParameter(CallerError):
    """This parameter is not supported."""

    code = "unsupported_parameter"
    http_status = 400


class RemoteImage(CallerError):
    """Pictures are taken as data: URLs; no address that a request names is fetched."""

    code = "invalid_image_url"
    http_status = 400


def invalid(where: str, problem: str) -> InvalidParameter:
    """The error about the parameter ``where``."""
    return InvalidParameter(f"{where}: {problem}", param=where)


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a dialogue: of ``user``, ``assistant`` or ``tool``. ``where`` names it in errors."""

    role: str
    text: str
    where: str
    images: tuple[Given, ...] = ()
    calls: tuple[Call, ...] = ()
    call_id: str = ""

    def as_prior(self) -> dict[str, Any]:
        """As a later message tells of it; pictures only by what they were."""
        notes = [f"[Image: {one.enclosed.media_type}, {len(one.enclosed.content)} bytes]" for one in self.images]
        told: dict[str, Any] = {"role": self.role, "content": "\n".join([*([self.text] if self.text else []), *notes])}
        if self.calls:
            told["tool_calls"] = [dict(call) for call in self.calls]
        if self.role == "tool":
            told["tool_call_id"] = self.call_id
        return told


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All that a client tells: ``instructions`` in their order, and what was ``said``, the newest last."""

    instructions: tuple[str, ...]
    said: tuple[Said, ...]


def read_messages(value: Any) -> Dialogue:
    """Read ``messages``. Raises the `CallerError` that names the place of what is wrong."""
    if not isinstance(value, list) or not value:
        raise invalid("messages", "a list of at least one message is required")
    instructions: list[str] = []
    said: list[Said] = []
    for number, given in enumerate(cast("list[Any]", value)):
        where = f"messages[{number}]"
        message = _object(given, where)
        role = message.get("role")
        if role not in _ROLES:
            raise invalid(f"{where}.role", f"one of {', '.join(_ROLES)} is required")
        for key in message:
            if key not in _KEYS:
                raise UnsupportedParameter(f"{where}.{key} is not supported", param=f"{where}.{key}")
        if role in INSTRUCTING:
            text, _ = _content(message, where, images=False)
            instructions += [text] if text.strip() else []
        else:
            one = _said(str(role), message, where)
            said += [one] if one is not None else []
    _check_newest(said)
    return Dialogue(tuple(instructions), tuple(said))


def newest_images(said: tuple[Said, ...]) -> tuple[Given, ...]:
    """The pictures that go with the newest message: its own, and of those before it the newest there is room for.

    Raises `InvalidAttachment` when it has too many itself.
    """
    if len(said[-1].images) > MOST:
        problem = f"At most {MOST} pictures fit one message."
        raise InvalidAttachment(problem, limit=MOST, param=said[-1].where)
    every = [image for one in said for image in one.images]
    return tuple(every[-MOST:])


def _check_newest(said: list[Said]) -> None:
    if not said or said[-1].role == "assistant":
        problem = "the last message must be of the role user or tool (beside system and developer)"
        raise invalid("messages", problem)


def _said(role: str, message: Mapping[str, Any], where: str) -> Said | None:
    text, images = _content(message, where, images=role == "user")
    match role:
        case "user" if not text.strip() and not images:
            raise invalid(f"{where}.content", "a text or a picture is required")
        case "assistant":
            calls = _calls(message.get("tool_calls"), f"{where}.tool_calls")
            return Said(role, text, where, calls=calls) if text.strip() or calls else None
        case "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or not 0 < len(call_id) <= 256:
                raise invalid(f"{where}.tool_call_id", "the id of the call is required")
            return Said(role, text, where, call_id=_clean(call_id, f"{where}.tool_call_id"))
        case _:
            return Said(role, text, where, images)


def _content(message: Mapping[str, Any], where: str, *, images: bool) -> tuple[str, tuple[Given, ...]]:
    """The words of a message, its text parts in lines of their own, and its pictures."""
    value = message.get("content")
    where = f"{where}.content"
    if value is None and message["role"] == "assistant":
        value = message.get("refusal") or ""
    if isinstance(value, str):
        return _text(value, where), ()
    if not isinstance(value, list):
        raise invalid(where, "a text or a list of parts is required")
    texts: list[str] = []
    pictures: list[Given] = []
    for number, given in enumerate(cast("list[Any]", value)):
        place = f"{where}[{number}]"
        part = _object(given, place)
        match part.get("type"):
            case "text" | "input_text" if isinstance(part.get("text"), str):
                texts.append(part["text"])
            case "refusal" if isinstance(part.get("refusal"), str):
                texts.append(part["refusal"])
            case "image_url" if images:
                pictures.append(_image(part.get("image_url"), f"{place}.image_url.url"))
            case _:
                known = "text, image_url" if images else "text"
                raise invalid(f"{place}.type", f"a part of a known type is required. Known: {known}")
    return _text("\n".join(texts), where), tuple(pictures)


def _image(value: Any, where: str) -> Given:
    url = cast("dict[str, Any]", value).get("url") if isinstance(value, dict) else value
    if not isinstance(url, str):
        raise invalid(where, "a data: URL is required")
    head, comma, data = url.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise RemoteImage(param=where)
    kind, *more = head[5:].lower().split(";")
    if "base64" not in more:
        raise invalid(where, "a picture's data: URL must be base64")
    wanted = {"type": "image", "media_type": _MEDIA_TYPES.get(kind, kind), "data": data}
    try:
        (given,) = checked_attachments([wanted], frozenset())
    except CallerError as error:
        message = error.message.replace("attachments[0].data", where).replace("attachments[0].media_type", where)
        raise type(error)(message.replace("attachments[0]", where), **{**error.details, "param": where}) from None
    return cast("Given", given)


def _calls(value: Any, where: str) -> tuple[Call, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid(where, "a list is required")
    calls: list[Call] = []
    for number, given in enumerate(cast("list[Any]", value)):
        place = f"{where}[{number}]"
        call = _object(given, place)
        function = _object(call.get("function"), f"{place}.function")
        told = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments", "{}")}
        for key, text in told.items():
            if not isinstance(text, str) or (not text and key != "arguments"):
                raise invalid(f"{place}.{key if key == 'id' else f'function.{key}'}", "a text is required")
        calls.append({key: _clean(str(text), place) for key, text in told.items()})
    return tuple(calls)


def _text(text: str, where: str) -> str:
    if len(text) > MAX_TEXT:
        message = f"{where} is longer than {MAX_TEXT} characters."
        raise TextTooLong(message, limit=MAX_TEXT, param=where)
    return _clean(text, where)


def _clean(text: str, where: str) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise invalid(where, "NUL and lone surrogates are not text")
    return text


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise invalid(where, "an object is required")
    return cast("dict[str, Any]", value)
