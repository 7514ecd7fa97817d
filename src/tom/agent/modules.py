"""What each service is for, in its shortest form: what triage chooses by.

The admin's description wins; else the service's own resource ``description://…``, else its instructions, else the
first lines of its tools. Resources are read from services that are connected, once per connection; a service that is
still being connected is named with what is known of it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tom.config.agent import ServiceEntry
from tom.services.cleaning import clean_short
from tom.services.library import Library
from tom.services.toolbox import ServiceStatus, Toolbox
from tom.telemetry import logs

log = logs.get("triage")

LONGEST = 2000
SECONDS = 1.0
"""How long triage waits for services to say what they are for."""


@dataclass(frozen=True, slots=True)
class Module:
    """One enabled service as triage is told of it."""

    name: str
    description: str

    def shown(self) -> dict[str, str]:
        """``{"name", "description"}``."""
        return {"name": self.name, "description": self.description}


class Modules:
    """The descriptions of a person's services, read once per connection."""

    def __init__(self, entries: Iterable[ServiceEntry], toolbox: Toolbox, library: Library) -> None:
        """Describe those of ``entries`` that are enabled."""
        self._entries = {entry.name: entry for entry in entries if entry.enabled}
        self._toolbox = toolbox
        self._library = library
        self._read: dict[str, str] = {}

    async def available(self) -> tuple[Module, ...]:
        """All enabled services, by name. Never raises; waits at most a second."""
        known = {status.name: status for status in self._toolbox.status()}
        unread = [name for name, entry in self._entries.items() if self._is_unread(entry, known)]
        if unread:
            try:
                async with asyncio.timeout(SECONDS):
                    await asyncio.gather(*(self._look(name) for name in unread))
            except TimeoutError:
                log.debug("Some services did not say what they are for", event="descriptions_late")
        for name, status in known.items():
            if status.status != "connected":
                self._read.pop(name, None)  # read again when it is back
        return tuple(Module(name, self._text(name, known)) for name in sorted(self._entries))

    def _is_unread(self, entry: ServiceEntry, known: Mapping[str, ServiceStatus]) -> bool:
        status = known.get(entry.name)
        connected = status is not None and status.status == "connected"
        return connected and not entry.description and entry.name not in self._read

    async def _look(self, name: str) -> None:
        for kind in dict.fromkeys((name.lower(), name, "server", "description")):
            try:
                text = await self._library.description(name, kind, timeout=SECONDS)
            except Exception as error:  # noqa: BLE001 - a service that fails to describe itself is named all the same
                log.debug("A description failed", event="description_failed", service=name, reason=type(error).__name__)
                return
            if text and text.strip():
                self._read[name] = text
                return
        self._read[name] = ""

    def _text(self, name: str, known: Mapping[str, ServiceStatus]) -> str:
        own = known[name].description if name in known else ""
        return clean_short(self._entries[name].description or self._read.get(name, "") or own, LONGEST)
