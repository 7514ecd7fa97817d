"""Puts one agent together. The only place of this package that chooses implementations."""

import os
import socket
from functools import partial
from pathlib import Path

from tom.agent.afresh import Afresh
from tom.agent.approvals import Approvals
from tom.agent.calling import Calling
from tom.agent.cell import Cell
from tom.agent.conversations import Conversations
from tom.agent.counting import CountingStore, Factors, load_counter
from tom.agent.enclosing import Enclosing
from tom.agent.feed import ALL, Feed, Item, Stored
from tom.agent.files import Files
from tom.agent.identify import AtThisMachine, BehindGateway, Door
from tom.agent.judging import Judging
from tom.agent.limits import Day, RunLimits
from tom.agent.runtools import RunTools
from tom.agent.scheduler import Scheduler
from tom.agent.serving import serve
from tom.agent.toolrunner import ToolRunner
from tom.agent.upkeep import Upkeep
from tom.agent.worker import Worker
from tom.clock import Clock, SystemClock
from tom.config.agent import AgentSettings
from tom.config.document import decode_agent
from tom.conversation.event import Event, EventType
from tom.llm.counting import TokenCounter
from tom.llm.levels import Models, open_models
from tom.services.behavior import NAME as BEHAVIOR
from tom.services.behavior import BehaviorService
from tom.services.behaviours import MemoryBehaviours, SqliteBehaviours
from tom.services.kept import MemoryKept
from tom.services.keptfile import NAME as SERVICES_DB
from tom.services.keptfile import ServicesFile, SqliteKept
from tom.services.library import Library
from tom.services.registry import ServiceRegistry
from tom.services.toolbox import Toolbox
from tom.store import open_store
from tom.store.opening import History
from tom.telemetry import logs
from tom.telemetry.health import Counters

log = logs.get("agent")

_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


def serve_cell(listen_fd: int, document_fd: int, user: str) -> int:
    """Serve ``user`` on an inherited listening socket; the settings come through the pipe ``document_fd``.

    Blocks until the agent is told to stop; returns the exit status.
    """
    with os.fdopen(document_fd, "rb") as pipe:
        settings = decode_agent(pipe.read())
    if settings.user != user:
        message = "the settings are another user's"
        raise ValueError(message)
    logs.configure(settings.log, user=settings.user)
    door = BehindGateway(settings.user, settings.agent_secret)
    return run_agent(settings, door, socket.socket(fileno=listen_fd))


def serve_alone(settings: AgentSettings, listening: socket.socket) -> int:
    """Serve without a gateway (``chat.auth: local``): whoever sits at this machine is the person."""
    return run_agent(settings, AtThisMachine(frozenset(settings.chat.allow_origins)), listening)


def run_agent(settings: AgentSettings, door: Door, listening: socket.socket) -> int:
    """Run the event loop of one agent to its end."""
    import uvloop  # noqa: PLC0415 - only a process that serves needs it

    listening.setblocking(False)
    return uvloop.run(_main(settings, door, listening))


async def _main(settings: AgentSettings, door: Door, listening: socket.socket) -> int:
    clock = SystemClock()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await open_store(settings.persistence, settings.home, clock=clock)
    return await serve(build_cell(settings, store, clock), door, listening)


def build_cell(
    settings: AgentSettings,
    store: History,
    clock: Clock,
    *,
    toolbox: Toolbox | None = None,
    library: Library | None = None,
) -> Cell:
    """Wire the parts of one agent; ``toolbox`` and ``library`` replace the real services inside a test."""
    counter = TokenCounter()
    ledger, store = store, CountingStore(store, counter)
    feed = Feed()
    registry = _registry(settings, clock)
    services: Toolbox = toolbox or registry
    shelf: Library = library or registry
    files = Files(settings.home)
    models = open_models(settings, clock)
    judging = Judging(settings, store, clock)
    limits = partial(RunLimits, settings, Day(ledger, settings, clock), Factors())
    chat = settings.chat

    def running(tools: RunTools) -> ToolRunner:
        calling = Calling(tools, feed, clock, hours=chat.approval_hours, keep=files.keep)
        return ToolRunner(
            tools,
            judging,
            calling,
            feed,
            limit=limits(),
            parallel=settings.limits.parallel,
            max_asks=settings.policy.max_asks,
        )

    worker = Worker(settings, store, feed, services, shelf, models, clock, running, read_file=files.read, limits=limits)
    scheduler = Scheduler(
        store,
        feed,
        worker,
        clock,
        parallel=chat.max_parallel_runs,
        max_turns=chat.max_tool_hops,
        deadline=chat.run_deadline_seconds,
        secret=settings.agent_secret,
    )
    durable = settings.persistence.enabled and settings.persistence.type == "sql"
    conversations = Conversations(
        store,
        scheduler,
        feed,
        clock,
        files,
        _enclosing(settings, services, shelf, files),
        max_queue=chat.max_queue,
        durable=durable,
    )
    approvals = Approvals(store, scheduler, feed, services, clock)
    preparing = worker.preparing
    afresh = Afresh(store, conversations, preparing.memories, preparing.behaviours, clock)
    worker.begin_anew = afresh.opened
    upkeep = Upkeep(
        store, models, settings, clock, limits=limits, publish=partial(_tell, feed), readings=_readings(settings)
    )
    feed.listen(ALL, partial(_notice_ends, upkeep))
    scheduler.beside += [afresh.serve, upkeep.serve, partial(load_counter, counter, _default_model(models))]
    counters = Counters(clock)
    return Cell(
        settings,
        store,
        feed,
        scheduler,
        conversations,
        services,
        models,
        clock,
        counters,
        approvals,
        shelf,
        files,
        preparing,
        afresh,
    )


def _tell(feed: Feed, event: Event) -> None:
    feed.publish(Stored(event, None))


def _notice_ends(upkeep: Upkeep, item: Item) -> None:
    if isinstance(item, Stored) and item.event.type in _ENDS:
        upkeep.notice(item.event.conversation_id)


def _readings(settings: AgentSettings) -> Path | None:
    """Where the clock's readings are kept, when anything is."""
    return settings.home / "clock.json" if settings.persistence.enabled else None


def _default_model(models: Models) -> str:
    return models.candidates(1)[0].model


def _enclosing(settings: AgentSettings, toolbox: Toolbox, library: Library, files: Files) -> Enclosing:
    enabled = [entry for entry in settings.services if entry.enabled]
    trusted = frozenset(entry.name for entry in enabled if entry.trust == "trusted")
    return Enclosing(toolbox, library, files, services=frozenset(entry.name for entry in enabled), trusted=trusted)


def _registry(settings: AgentSettings, clock: Clock) -> ServiceRegistry:
    """The services of one person; what is remembered of them lies beside the history, if that lasts."""
    if settings.persistence.enabled and settings.persistence.type == "sql":
        file = ServicesFile(settings.home / SERVICES_DB, clock)
        kept, behaviours = SqliteKept(file), SqliteBehaviours(file, clock)
    else:
        kept, behaviours = MemoryKept(), MemoryBehaviours(clock)
    modules = [entry.name for entry in settings.services if entry.enabled]
    return ServiceRegistry(
        settings.services,
        clock=clock,
        environment=_environment(settings),
        kept=kept,
        builtins={BEHAVIOR: BehaviorService(behaviours, modules)},
        user=settings.user,
    )


def _environment(settings: AgentSettings) -> dict[str, str]:
    """Where the services' PATH, HOME, LANG and TZ come from."""
    shared = {"TOM_ALL_DATADIR": settings.all_datadir} if settings.all_datadir else {}
    return {**os.environ, **shared}
