"""What one service offers to read, as far as it is known: its lists and descriptions, kept while they hold.

What was read is kept until the service says that it has changed, for as long as the service says, else for 300 s. It
outlives a connection, and the agent: a service that is not connected is not started to repeat itself, whatever the age
of what it said; it is asked again when it is connected for another reason. `NOTIFICATION` alone is always of now.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tom.clock import Clock
from tom.conversation.message import Message
from tom.errors import InvalidArguments, PromptNotFound, ResourceNotFound, ServiceUnavailable
from tom.services.cleaning import clean_short, clean_within
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry

if TYPE_CHECKING:
    from tom.services.connection import Connection
    from tom.services.offers import Answer

HOLDS = 300.0
FAILED_HOLDS = 30.0
"""Seconds for which a service that failed to give a description is not asked for it again."""

LONGEST_DESCRIPTION = 2000
"""Characters."""

CONSIGN_BYTES = 65_536
"""More than goes into a prompt: who puts it there cuts it, and says so."""

NOTIFICATION = "tom_notification"
NOTIFICATION_HOLDS = 30.0
"""A line about what goes on now is not kept for as long as one about what a service is for."""

_LONGEST_HOLD = 86_400.0
_SCHEME = "description://"


_ABOUT = "about"
_KINDS: Mapping[str, Any] = {"prompts": tuple[PromptEntry, ...], "resources": tuple[ResourceEntry, ...]}

type Noting = Callable[[str, str, str], Awaitable[None]]
"""Keeps what a service said: service, what, value."""


class Asking(Protocol):
    """How a shelf reaches its service."""

    async def __call__[T](self, question: "Callable[[Connection], Awaitable[T]]", limit: float) -> T:
        """What ``question`` finds out over the open connection within ``limit`` seconds.

        Raises `ServiceUnavailable`, and what the question raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    until: float | None


class Shelf:
    """One service's prompts, resources and descriptions."""

    def __init__(
        self, service: str, ask: Asking, clock: Clock, timeout: float, *, is_open: Callable[[], bool], note: Noting
    ) -> None:
        """Ask for what is not known; an answer may take ``timeout`` seconds.

        ``is_open``: whether the service is connected. ``note`` keeps what was said beyond this process.
        """
        self._service = service
        self._ask = ask
        self._clock = clock
        self._timeout = timeout
        self._is_open = is_open
        self._note = note
        self._noted: dict[str, str] = {}
        self.about = ""
        """What the service says it is for."""
        self._kept: dict[str, _Kept] = {}
        self._generation = 0
        self._one_at_a_time = asyncio.Lock()

    def recall(self, readings: Mapping[str, str]) -> None:
        """What was noted in an earlier time holds until the service is connected."""
        self._noted = dict(readings)
        for what, value in readings.items():
            with contextlib.suppress(msgspec.DecodeError):  # another version's; the service is asked again
                if what == _ABOUT:
                    self.about = value
                else:
                    self._kept[what] = _Kept(msgspec.json.decode(value, type=_KINDS.get(what, str)), float("-inf"))

    async def keep_about(self, text: str) -> None:
        """The service has said what it is for."""
        self.about = text
        await self._remember(_ABOUT, text)

    @property
    def known_prompts(self) -> tuple[PromptEntry, ...]:
        """The prompts that were listed last."""
        kept = self._kept.get("prompts")
        return () if kept is None else kept.value

    async def prompts(self) -> tuple[PromptEntry, ...]:
        """All prompts. Raises `ServiceUnavailable`."""
        return await self._list("prompts", lambda connection: connection.list_prompts())

    async def resources(self) -> tuple[ResourceEntry, ...]:
        """All resources and templates. Raises `ServiceUnavailable`."""
        return await self._list("resources", lambda connection: connection.list_resources())

    async def prompt(self, prompt: str, arguments: Mapping[str, str]) -> tuple[Message, ...]:
        """The prompt's messages. Raises `PromptNotFound`, `InvalidArguments`, `ServiceUnavailable`."""
        listed = {entry.prompt: entry for entry in await self.prompts()}
        if prompt not in listed:
            raise PromptNotFound(f"Prompt '{prompt}' not found")
        check_arguments(listed[prompt], arguments)
        given = dict(arguments)
        return await self._ask(lambda connection: connection.prompt(prompt, given), self._timeout)

    async def read(self, uri: str, timeout: float | None = None) -> ResourceContent:
        """What the resource holds. Raises `ResourceNotFound`, `ServiceUnavailable`."""
        if not uri or len(uri) > 4096:
            raise ResourceNotFound(f"Resource '{uri[:100]}' not found")
        answer = await self._ask(lambda connection: connection.read(uri), self._timeout if timeout is None else timeout)
        return answer.value

    async def description(self, kind: str, timeout: float) -> str | None:
        """The text of ``description://<kind>``, cleaned; None when there is none or the service fails."""
        uri = _SCHEME + kind
        kept = self._held(uri)
        if kept is not None:
            return kept.value or None
        generation = self._generation
        try:
            answer = await self._ask(lambda connection: connection.describe(uri), timeout)
        except ResourceNotFound:
            self._keep(uri, "", None, generation)
            await self._remember(uri, _encoded(""))
            return None
        except ServiceUnavailable:
            self._keep(uri, "", FAILED_HOLDS, generation)
            return None
        text = cleaned_description(kind, answer.value)
        self._keep(uri, text, NOTIFICATION_HOLDS if kind == NOTIFICATION else answer.seconds, generation)
        if kind != NOTIFICATION:
            await self._remember(uri, _encoded(text))
        return text or None

    def forget(self, what: str) -> None:
        """It has changed: ``prompts``, ``resources``, or a resource by its URI."""
        self._generation += 1
        self._kept.pop(what, None)

    def forget_failures(self) -> None:
        """The service is back: what it failed to say may be asked again."""
        for what in [name for name, kept in self._kept.items() if name.startswith(_SCHEME) and not kept.value]:
            del self._kept[what]

    async def _list(self, what: str, question: "Callable[[Connection], Awaitable[Answer[Any]]]") -> Any:
        kept = self._held(what)
        if kept is None:
            async with self._one_at_a_time:
                kept = self._held(what)
                if kept is None:
                    generation = self._generation
                    answer = await self._ask(question, self._timeout)
                    self._keep(what, answer.value, answer.seconds, generation)
                    await self._remember(what, _encoded(answer.value))
                    return answer.value
        return kept.value

    def _held(self, what: str) -> _Kept | None:
        kept = self._kept.get(what)
        if kept is None:
            return None
        expired = kept.until is not None and kept.until <= self._clock.monotonic()
        return None if expired and (self._is_open() or what == _SCHEME + NOTIFICATION) else kept

    async def _remember(self, what: str, value: str) -> None:
        if self._noted.get(what) != value:
            self._noted[what] = value
            await self._note(self._service, what, value)

    def _keep(self, what: str, value: Any, seconds: float | None, generation: int) -> None:
        """Keep it, unless something has changed since it was asked for."""
        holds = HOLDS if seconds is None else min(seconds, _LONGEST_HOLD)
        if generation != self._generation:
            holds = 0.0
        self._kept[what] = _Kept(value, self._clock.monotonic() + holds)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def cleaned_description(kind: str, text: str) -> str:
    """What is kept of the text of ``description://<kind>``."""
    if kind.endswith(("_consign", "_prompts")):
        return clean_within(text, CONSIGN_BYTES)
    return clean_short(text, LONGEST_DESCRIPTION)


def check_arguments(entry: PromptEntry, arguments: Mapping[str, str]) -> None:
    """Raise `InvalidArguments` naming what is missing or unknown."""
    missing = [name for name, (_about, required) in entry.arguments.items() if required and name not in arguments]
    unknown = [name for name in arguments if name not in entry.arguments]
    problems = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)}"] * bool(unknown)
    if problems:
        message = f"The arguments do not fit the prompt '{entry.name}': {'; '.join(problems)}"
        raise InvalidArguments(message, missing=missing, unknown=unknown)
