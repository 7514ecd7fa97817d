"""What may come with a message: pictures, texts, resources of services. Read strictly; nothing is stored here."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom.errors import AttachmentTooLarge, InvalidAttachment, ResourceNotFound

MOST = 4
MAX_BYTES = 5 * 1024 * 1024
LONGEST_NAME = 200
LONGEST_URI = 2048
_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""In no name: controls, line breaks, what turns the order of letters around. Joiners belong to Persian words."""

_KEYS: Mapping[str, frozenset[str]] = {
    "image": frozenset({"type", "media_type", "data", "name"}),
    "text": frozenset({"type", "name", "data"}),
    "resource": frozenset({"type", "service", "uri"}),
}


@dataclass(frozen=True, slots=True)
class Enclosed:
    """One thing that came with a message, at hand: to be kept as a file of the conversation.

    ``kind``: ``image`` or ``text``. ``source`` is its untrusted source in labels, empty for a trusted one; ``private``
    whose private matters it may hold. ``more`` is told beside it in the event.
    """

    kind: str
    content: bytes
    name: str
    source: str = ""
    private: str = ""
    media_type: str = ""
    more: Mapping[str, Any] | None = None

    def described(self, file: str) -> dict[str, Any]:
        """As an event's ``attachments`` say it; ``file`` names the file that holds the content."""
        told: dict[str, Any] = {"type": self.kind, "name": self.name, "file": file, "size": len(self.content)}
        if self.media_type:
            told["media_type"] = self.media_type
        if self.source:
            told["source"] = self.source
        return told | dict(self.more or {})


@dataclass(frozen=True, slots=True)
class ResourceWish:
    """A resource of a service, to be read when the message is stored."""

    service: str
    uri: str

    @property
    def identity(self) -> list[str]:
        """What a repetition of the message must name again."""
        return ["resource", self.service, self.uri]


@dataclass(frozen=True, slots=True)
class Given:
    """An attachment that the client sent whole. ``identity`` is what a repetition must bring again."""

    enclosed: Enclosed

    @property
    def identity(self) -> list[str]:
        """Kind, name and the hash of the content."""
        whole = self.enclosed
        return [whole.kind, whole.name, whole.media_type, hashlib.sha256(whole.content).hexdigest()]


type Attachment = Given | ResourceWish


def checked_attachments(value: Any, services: frozenset[str]) -> tuple[Attachment, ...]:
    """Read ``attachments``. Raises `InvalidAttachment`, `AttachmentTooLarge` or `ResourceNotFound`."""
    if not isinstance(value, list):
        raise _invalid("attachments", "a list is required")
    given = cast("list[Any]", value)
    if len(given) > MOST:
        message = f"At most {MOST} attachments fit one message."
        raise InvalidAttachment(message, limit=MOST)
    return tuple(_attachment(one, f"attachments[{number}]", services) for number, one in enumerate(given))


def _attachment(value: Any, where: str, services: frozenset[str]) -> Attachment:
    if not isinstance(value, dict):
        raise _invalid(where, "an object is required")
    given = cast("dict[str, Any]", value)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise _invalid(f"{where}.type", f"one of {', '.join(_KEYS)} is required")
    for key in given:
        if key not in _KEYS[kind]:
            raise _invalid(where, f"unknown key. Known: {', '.join(sorted(_KEYS[kind]))}")
    if kind == "resource":
        return _resource(given, where, services)
    return Given(_image(given, where) if kind == "image" else _text(given, where))


def _image(given: Mapping[str, Any], where: str) -> Enclosed:
    text = given.get("data")
    if not isinstance(text, str):
        raise _invalid(f"{where}.data", "base64 text is required")
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise _too_large(where)
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"{where}.data", "this is no base64") from None
    if len(content) > MAX_BYTES:
        raise _too_large(where)
    declared, found = given.get("media_type"), image_type(content)
    if found is None:
        raise _invalid(f"{where}.data", "this is no PNG, JPEG, WebP or GIF picture")
    if declared != found:
        raise _invalid(f"{where}.media_type", f"the picture is {found}")
    name = _name(given["name"], where) if "name" in given else f"picture.{found.removeprefix('image/')}"
    return Enclosed("image", content, name, f"attachment:{name}", "attachment", found)


def _text(given: Mapping[str, Any], where: str) -> Enclosed:
    text = given.get("data")
    if not isinstance(text, str) or not text.strip():
        raise _invalid(f"{where}.data", "a text is required")
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise _invalid(f"{where}.data", "lone surrogates are not text") from None
    if len(content) > MAX_BYTES:
        raise _too_large(where)
    if "\0" in text:
        raise _invalid(f"{where}.data", "NUL is not text")
    name = _name(given.get("name"), where)
    return Enclosed("text", content, name, f"attachment:{name}", "attachment")


def _resource(given: Mapping[str, Any], where: str, services: frozenset[str]) -> ResourceWish:
    service, uri = given.get("service"), given.get("uri")
    for key, text in (("service", service), ("uri", uri)):
        if not isinstance(text, str) or not 0 < len(text) <= LONGEST_URI or _UNFIT.search(text):
            raise _invalid(f"{where}.{key}", "a text is required")
    wish = ResourceWish(str(service), str(uri))
    if wish.service not in services:
        message = f"Resource '{wish.service}::{wish.uri}' not found"
        raise ResourceNotFound(message)
    return wish


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME or _UNFIT.search(value):
        raise _invalid(f"{where}.name", f"a name of at most {LONGEST_NAME} characters is required")
    return value


def image_type(content: bytes) -> str | None:
    """The media type of a picture by its first bytes; None when it is none that models take."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return None


def _invalid(where: str, problem: str) -> InvalidAttachment:
    return InvalidAttachment(f"Invalid attachment: {where}: {problem}")


def _too_large(where: str) -> AttachmentTooLarge:
    return AttachmentTooLarge(f"{where} is larger than {MAX_BYTES} bytes.", limit=MAX_BYTES)
