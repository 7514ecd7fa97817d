"""An agent that kills itself with SIGKILL at an exact moment of its work, for crash tests.

It is the real agent, entered through `serve_cell`; only the journal is watched. The file ``kill-at`` in the person's
directory names the moment as ``before EVENT N`` or ``after EVENT N``: before or after the commit of the N-th event of
that type since the start. The file is removed first, so the next start goes on undisturbed.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tom.agent import bootstrap
from tom.agent.cell import Cell
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import Event
from tom.store.opening import Store

KILL_AT = "kill-at"


@dataclass(slots=True)
class Moment:
    """When to die."""

    when: str
    event_type: str
    left: int

    def reached(self, when: str, events: Sequence[Event]) -> bool:
        """Whether it is now; counts down ``before`` and ``after`` alike."""
        if when != self.when:
            return False
        self.left -= sum(1 for event in events if event.type == self.event_type)
        return self.left <= 0 and any(event.type == self.event_type for event in events)


def take_moment(home: Path) -> Moment | None:
    """Read and remove the moment."""
    path = home / KILL_AT
    try:
        when, event_type, count = path.read_text().split()
    except FileNotFoundError:
        return None
    path.unlink()
    return Moment(when, event_type, int(count))


class MortalStore:
    """A store that ends the process at its moment, and is the real one in all else."""

    def __init__(self, inner: Store, moment: Moment) -> None:
        """Pass everything on to ``inner``."""
        self._inner = inner
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        """Whatever is not watched."""
        return getattr(self._inner, name)

    async def append(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Append, and die before or after the commit when it is time."""
        self._die_when("before", events)
        stored = await self._inner.append(events)
        self._die_when("after", events)
        return stored

    def _die_when(self, when: str, events: Sequence[Event]) -> None:
        if self._moment.reached(when, events):
            os.kill(os.getpid(), signal.SIGKILL)


def serve_cell(listen_fd: int, document_fd: int, user: str) -> int:
    """As `tom.agent.bootstrap.serve_cell`, but mortal."""
    build = bootstrap.build_cell

    def build_watched(settings: AgentSettings, store: Store, clock: Clock, **more: Any) -> Cell:
        moment = take_moment(settings.home)
        watched = store if moment is None else cast("Store", MortalStore(store, moment))
        return build(settings, watched, clock, **more)

    bootstrap.build_cell = build_watched
    return bootstrap.serve_cell(listen_fd, document_fd, user)
