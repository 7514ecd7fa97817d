"""The seam to what is remembered of services across restarts: pins, and what each service listed and said last.

Above: `pinning.py`, which decides. Below: `keptfile.py` (services.db of the person) and `MemoryKept`. It is no cache of
answers and decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tom.services.pins import Pin


@dataclass(frozen=True, slots=True)
class KeptList:
    """A service's tools as they were last listed.

    ``place``: where the service was reached (`pins.place_of`, canonical); the list of another place does not count.
    ``tools`` are whole definitions in canonical JSON; ``ttl`` in seconds, None: the service did not say.
    """

    service: str
    place: str
    server: str
    revision: str
    tools: tuple[str, ...]
    instructions: str = ""
    ttl: float | None = None
    listed_at: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Everything that is kept: lists by service, pins by service and tool, readings by service and what was read."""

    pins: Mapping[str, Mapping[str, Pin]] = field(default_factory=dict[str, Mapping[str, Pin]])
    lists: Mapping[str, KeptList] = field(default_factory=dict[str, KeptList])
    readings: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


class Kept(Protocol):
    """What one person's services are remembered by."""

    async def load(self) -> Remembered:
        """All of it. Raises `OperatorError`, `StorageFull`, `StorageUnavailable`."""
        ...

    async def pin(self, pins: Sequence[tuple[Pin, str]]) -> None:
        """Add or replace pins, each with the definition that it stands for."""
        ...

    async def keep(self, kept: KeptList) -> None:
        """Keep a service's list in place of the one before."""
        ...

    async def note(self, service: str, what: str, value: str) -> None:
        """Keep what a service said (`shelf.py`), in place of what it said before."""
        ...

    async def forget(self, service: str) -> None:
        """Keep nothing any more of what a service said."""
        ...

    async def definition(self, service: str, tool: str) -> str | None:
        """The definition that a tool's pin stands for, in canonical JSON; None when it has no pin."""
        ...

    async def close(self) -> None:
        """Close what is open. Idempotent."""
        ...


class MemoryKept:
    """Remembers as long as the process lives."""

    def __init__(self) -> None:
        """Nothing is remembered yet."""
        self._pins: dict[str, dict[str, Pin]] = {}
        self._definitions: dict[tuple[str, str], str] = {}
        self._lists: dict[str, KeptList] = {}
        self._readings: dict[str, dict[str, str]] = {}

    async def load(self) -> Remembered:
        """All of it."""
        pins = {service: dict(pins) for service, pins in self._pins.items()}
        return Remembered(pins, dict(self._lists), {name: dict(said) for name, said in self._readings.items()})

    async def pin(self, pins: Sequence[tuple[Pin, str]]) -> None:
        """Add or replace pins."""
        for pin, written in pins:
            self._pins.setdefault(pin.service, {})[pin.tool] = pin
            self._definitions[pin.service, pin.tool] = written

    async def keep(self, kept: KeptList) -> None:
        """Replace the service's list."""
        self._lists[kept.service] = kept

    async def note(self, service: str, what: str, value: str) -> None:
        """Keep it."""
        self._readings.setdefault(service, {})[what] = value

    async def forget(self, service: str) -> None:
        """Forget its readings."""
        self._readings.pop(service, None)

    async def definition(self, service: str, tool: str) -> str | None:
        """What the pin stands for."""
        return self._definitions.get((service, tool))

    async def close(self) -> None:
        """Nothing is open."""
