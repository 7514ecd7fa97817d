"""The files of an export: each is named by the hash of its content, and is what an event says that it is."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from tom.agent.attachments import MAX_BYTES, image_type
from tom.agent.importing import WrongExport
from tom.agent.submission import checked_metadata
from tom.conversation.event import Event
from tom.errors import MetadataTooLarge

NAMED = 16
"""So many missing files are named; all are counted."""

_KEYS = frozenset({"media_type", "data"})
_OFFERED = frozenset({"image", "text"})
"""What goes into prompts, and is bounded as attachments are; the body of the request bounds everything else."""


def attachments_of(events: Iterable[Event]) -> Iterable[Mapping[str, Any]]:
    """What the events say of files."""
    return (kept for event in events for kept in event.extra.get("attachments", ()))


def checked_files(given: object, events: Sequence[Event]) -> Mapping[str, bytes]:
    """The content of the files of an export by their names. Raises `WrongExport`."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong("files", "an object is required")
    described: dict[str, list[Mapping[str, Any]]] = {}
    for kept in attachments_of(events):
        described.setdefault(kept["file"], []).append(kept)
    found: dict[str, bytes] = {}
    for name, told in cast("dict[str, Any]", given).items():
        if name not in described:
            raise _wrong("files", "a file that no event names")
        found[name] = _content(told, f"files.{name}")
        if hashlib.sha256(found[name]).hexdigest() != name:
            raise _wrong(f"files.{name}.data", "the name is not the SHA-256 of the content")
        for kept in described[name]:
            _check_kind(found[name], told, kept, f"files.{name}")
    return found


def told_of_missing(
    metadata: Mapping[str, Any], files: Mapping[str, bytes], events: Sequence[Event]
) -> Mapping[str, Any]:
    """The metadata of an imported session, with the files that did not come with it. Raises `WrongExport`."""
    missing = sorted({kept["file"] for kept in attachments_of(events)} - set(files))
    if not missing:
        return metadata
    try:
        return checked_metadata({**metadata, "missing_files": {"count": len(missing), "names": missing[:NAMED]}})
    except MetadataTooLarge:
        raise _wrong("conversation.metadata", "there is no room to name the files that are missing") from None


def _content(told: object, where: str) -> bytes:
    if not isinstance(told, dict):
        raise _wrong(where, "an object is required")
    file = cast("dict[str, Any]", told)
    if not _KEYS.issuperset(file):
        raise _wrong(where, f"unknown field. Known: {', '.join(sorted(_KEYS))}")
    data = file.get("data")
    if not isinstance(data, str):
        raise _wrong(f"{where}.data", "base64 text is required")
    try:
        return base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(f"{where}.data", "this is no base64") from None


def _check_kind(content: bytes, told: Mapping[str, Any], kept: Mapping[str, Any], where: str) -> None:
    """Whether the content is what the event says, and what an attachment may be. Raises `WrongExport`."""
    if kept["type"] in _OFFERED and len(content) > MAX_BYTES:
        raise _wrong(f"{where}.data", f"larger than {MAX_BYTES} bytes")
    if kept.get("size", len(content)) != len(content):
        raise _wrong(f"{where}.data", "an event tells another size")
    if kept["type"] == "image":
        found = image_type(content)
        if found is None:
            raise _wrong(f"{where}.data", "this is no PNG, JPEG, WebP or GIF picture")
        if found != kept["media_type"] or told.get("media_type", found) != found:
            raise _wrong(f"{where}.media_type", f"the picture is {found}")
        return
    try:
        content.decode()
    except UnicodeDecodeError:
        raise _wrong(f"{where}.data", "this is no text in UTF-8") from None


def _wrong(field: str, problem: str) -> WrongExport:
    error = {"loc": ["body", *field.split(".")], "msg": problem, "type": "value_error"}
    return WrongExport(f"Request validation failed: {field}: {problem}", errors=[error])
