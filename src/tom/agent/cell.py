"""One person's cell: the parts that their doors share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tom.agent.afresh import Afresh
from tom.agent.approvals import Answering
from tom.agent.conversations import Conversations
from tom.agent.doorfile import DoorFile
from tom.agent.feed import Feed
from tom.agent.files import Files
from tom.agent.mirroring import Mirroring
from tom.agent.preparing import Preparing
from tom.agent.rates import Rates
from tom.agent.scheduler import Scheduler
from tom.agent.upkeep import Upkeep
from tom.agent.websocket import SocketCount
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.llm.levels import Models
from tom.services.library import Library
from tom.services.toolbox import Toolbox
from tom.store.opening import History
from tom.telemetry.health import Uptime
from tom.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from tom.agent.admindoor import Admin


def _none() -> float:
    """Nothing is behind."""
    return 0.0


@dataclass(slots=True)
class Cell:
    """Everything of one agent. Made by `bootstrap.py`, used by the doors."""

    settings: AgentSettings
    store: History
    feed: Feed
    scheduler: Scheduler
    conversations: Conversations
    toolbox: Toolbox
    models: Models
    clock: Clock
    uptime: Uptime
    approvals: Answering
    library: Library
    files: Files
    preparing: Preparing
    afresh: Afresh
    upkeep: Upkeep
    rates: Rates
    sockets: SocketCount = field(default_factory=SocketCount)
    streams: SocketCount = field(default_factory=SocketCount)
    """Answers that stay open to tell events, and requests that wait for one; bounded as sockets are."""

    ready: bool = False
    metrics: Metrics | None = None
    archive_lag: Callable[[], float] = _none
    mirror: Mirroring | None = None
    admin: "Admin | None" = None
    door_file: DoorFile | None = None
    """What an agent alone keeps of its callers; None behind a gateway."""

    @property
    def services(self) -> frozenset[str]:
        """The names of the enabled services."""
        return frozenset(entry.name for entry in self.settings.services if entry.enabled)
