"""Prompts of services in front of a message: typed as ``/service:prompt name=value …``, or named by a client.

The first line is the command, the lines after it are the person's own words. Values may stand in quotes.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tom.agent.options import did_you_mean, nearest
from tom.conversation.message import Message
from tom.conversation.part import Document, Image, Text
from tom.errors import InvalidArguments, PromptNotFound
from tom.services.library import PromptEntry

_COMMAND = re.compile(r"/([A-Za-z0-9_-]{1,64}):([^\s\"'=]{1,128})(?=\s|\Z)")
_GAP = re.compile(r"[^\S\n]+")
_NAME = re.compile(r"([^\s=\"'“”]{1,128})=")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|“([^”]*)”", re.DOTALL)
_BARE = re.compile(r"[^\s\"“]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PromptWish:
    """A prompt that a message asks for. ``name``: ``service:prompt``, or a name that only one service has."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def service(self) -> str:
        """The service that it names; empty when it names none."""
        service, colon, _ = self.name.partition(":")
        return service if colon else ""

    def typed(self) -> str:
        """What a person would have typed for it."""
        values = (f'{name}="{_escaped(value)}"' for name, value in self.arguments.items())
        return " ".join(["/" + self.name, *values])


def names_prompt(text: str, services: Collection[str]) -> bool:
    """Whether ``text`` asks for a prompt, also for one that cannot be read."""
    command = _COMMAND.match(text)
    return command is not None and command[1] in services


def typed_prompt(text: str, services: Collection[str]) -> PromptWish | None:
    """The prompt that ``text`` asks for; None when it is ordinary text, which it is unless it names a service.

    Raises `InvalidArguments` when what follows cannot be read as ``name=value`` pairs.
    """
    command = _COMMAND.match(text)
    if command is None or command[1] not in services:
        return None
    return PromptWish(f"{command[1]}:{command[2]}", _arguments(text, command.end()))


def _arguments(text: str, place: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while True:
        gap = _GAP.match(text, place)
        place = gap.end() if gap else place
        if text[place : place + 1] in {"", "\n"}:
            return found
        name = _NAME.match(text, place)
        if name is None:
            word = text[place : place + 40].split(maxsplit=1)[0]
            message = f"'{word}' is not name=value; words to Tom stand on the lines below"
            raise InvalidArguments(message)
        if name[1] in found:
            message = f"'{name[1]}' is given twice"
            raise InvalidArguments(message, argument=name[1])
        found[name[1]], place = _value(text, name.end(), name[1])


def _value(text: str, place: int, name: str) -> tuple[str, int]:
    quoted = _QUOTED.match(text, place)
    if quoted is None:
        bare = _BARE.match(text, place)
        end = bare.end() if bare else place
        value = text[place:end]
    else:
        end = quoted.end()
        double, single, curly = quoted.groups()
        value = _ESCAPED.sub(r"\1", double) if double is not None else (single if single is not None else curly)
    if end < len(text) and not text[end].isspace():
        message = f"The value of '{name}' does not end where its quotes do"
        raise InvalidArguments(message, argument=name)
    return value, end


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def find_prompt(wish: PromptWish, entries: Sequence[PromptEntry], services: Collection[str]) -> PromptEntry:
    """The prompt that ``wish`` names, with arguments that fit. Raises `PromptNotFound` or `InvalidArguments`."""
    for entry in entries:
        if wish.name in {entry.name, f"{entry.service}:{entry.prompt}", f"{entry.service}:{entry.name}"}:
            _check_arguments(wish, entry)
            return entry
    if wish.service and wish.service not in services:
        message = f"Prompt '{wish.name}' not found.{did_you_mean(wish.service, services)}"
        raise PromptNotFound(message)
    known = [f"{entry.service}:{entry.prompt}" for entry in entries] + [entry.name for entry in entries]
    near = nearest(wish.name, known)
    message = f"Prompt '{wish.name}' not found.{did_you_mean(wish.name, known)}"
    raise PromptNotFound(message, **({"nearest": near} if near else {}))


def _check_arguments(wish: PromptWish, entry: PromptEntry) -> None:
    missing = [name for name, (_, required) in entry.arguments.items() if required and not wish.arguments.get(name)]
    unknown = [name for name in wish.arguments if name not in entry.arguments]
    if not missing and not unknown:
        return
    known = ", ".join(entry.arguments) or "none"
    said = [f"missing: {', '.join(missing)}"] if missing else []
    said += [f"unknown: {name}.{did_you_mean(name, entry.arguments)}" for name in unknown]
    message = f"The arguments do not fit the prompt '{wish.name}': {'; '.join(said)} (it takes: {known})"
    raise InvalidArguments(message, missing=missing, unknown=unknown)


def told_by(messages: Iterable[Message]) -> tuple[str, tuple[Image, ...]]:
    """A prompt's messages as one text, each with who is to have said it where there are several; and its pictures."""
    listed = list(messages)
    images = tuple(image for message in listed for image in message.images)
    texts = [(str(message.role), _words(message)) for message in listed]
    texts = [(role, words) for role, words in texts if words]
    if len(texts) == 1:
        return texts[0][1], images
    return "\n\n".join(f"{role}: {words}" for role, words in texts), images


def _words(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, Text | Document) and part.text)
