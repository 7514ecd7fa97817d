"""Puts one agent together. The only place of this package that chooses implementations."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tom import ids
from tom.agent.adminopening import open_admin
from tom.agent.afresh import Afresh
from tom.agent.alone import door_alone
from tom.agent.approvals import Approvals
from tom.agent.calling import Calling
from tom.agent.cell import Cell
from tom.agent.conversations import Conversations
from tom.agent.counting import CountingStore, Factors, load_counter
from tom.agent.doorfile import DoorFile, control_socket
from tom.agent.enclosing import Enclosing
from tom.agent.feed import ALL, Feed, Item, Stored
from tom.agent.files import Files
from tom.agent.identify import BehindGateway, Door
from tom.agent.judging import Judging
from tom.agent.limits import Day, RunLimits
from tom.agent.mirroring import Mirroring
from tom.agent.rates import Rates
from tom.agent.reception import Reception
from tom.agent.runtools import RunTools
from tom.agent.scheduler import Scheduler
from tom.agent.serving import serve
from tom.agent.sharedkeys import SharedKeys
from tom.agent.sharedmemory import SharedMemory
from tom.agent.tally import Tally, tell_sessions
from tom.agent.toolrunner import ToolRunner
from tom.agent.underserver import UNWRITTEN, Outside, UnderServer
from tom.agent.upkeep import HOUR, Upkeep
from tom.agent.visiting import for_visitors
from tom.agent.worker import Worker
from tom.archive.opening import open_archive
from tom.clock import Clock, SystemClock
from tom.config.agent import AgentSettings
from tom.config.document import decode_agent
from tom.config.secret import Secret
from tom.conversation.event import Event, EventType
from tom.limits.link import RedisLink, open_link
from tom.limits.opening import open_limiter
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
from tom.store.copies import Copies
from tom.store.eventstore import ConversationRow
from tom.store.opening import Store, rules_of
from tom.telemetry import logs
from tom.telemetry.health import Uptime
from tom.telemetry.metrics import Metrics

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
    """Serve without a gateway, to whom ``settings.doors.auth`` says; returns the exit status.

    The operator's way in is ``<home>/agent.sock``. Raises `StoreInUse`, `StoreTooNew`.
    """
    import uvloop  # noqa: PLC0415 - only a process that serves needs it

    listening.setblocking(False)
    return uvloop.run(_main_alone(settings, listening))


def app_alone(env: Mapping[str, str] = os.environ) -> UnderServer:
    """The same as an application for somebody else's ASGI server; nothing is opened before its lifespan begins.

    Raises `ConfigInvalid`.
    """
    from tom.config.doors import WEAK_ADMIN_TOKEN, is_weak_admin_token  # noqa: PLC0415 - brings pydantic
    from tom.config.loading import Loading  # noqa: PLC0415 - as above
    from tom.config.settings import STANDALONE_USER, data_directory  # noqa: PLC0415 - as above

    loading = Loading(data_directory(env), None, env, alone=True)
    loaded = loading.run()
    settings = loaded.agent(STANDALONE_USER, Secret(""))
    logs.configure(settings.log, user=settings.user)
    for line in (*loaded.notes, *loaded.warnings):
        log.info(line, event="configuration")
    written = loading.root is not None and loading.root.chat.auth is not None
    weak = is_weak_admin_token(settings.doors.admin_token.reveal())
    why = WEAK_ADMIN_TOKEN if written else UNWRITTEN
    return UnderServer(partial(_main_alone, settings, None), loopback_only=not written or weak, why=why)


def run_agent(settings: AgentSettings, door: Door, listening: socket.socket) -> int:
    """Run the event loop of one agent to its end."""
    import uvloop  # noqa: PLC0415 - only a process that serves needs it

    listening.setblocking(False)
    return uvloop.run(_main(settings, door, listening))


async def _main(settings: AgentSettings, door: Door, listening: socket.socket) -> int:
    clock = SystemClock()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await _opened(settings, clock)
    return await serve(build_cell(settings, store, clock), door, listening)


async def _main_alone(settings: AgentSettings, listening: socket.socket | None, outside: Outside | None = None) -> int:
    clock = SystemClock()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await _opened(settings, clock)
    file = await DoorFile.open(settings.home, clock)
    try:
        cell = build_cell(settings, store, clock)
        cell.door_file = file
        admin = await open_admin(cell, file.database)
        try:
            with control_socket(settings.home) as control:
                return await serve(cell, door_alone(settings, file), listening, control=control, outside=outside)
        finally:
            await admin.chain.close()
    finally:
        await file.close()


async def _opened(settings: AgentSettings, clock: Clock) -> Store:
    shared = bool(settings.doors.redis.url.reveal())
    return await open_store(settings.persistence, settings.home, clock=clock, archive=settings.archive, shared=shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the others of one agent are made from."""

    settings: AgentSettings
    clock: Clock
    store: CountingStore
    feed: Feed
    toolbox: Toolbox
    library: Library
    files: Files
    models: Models
    limits: Callable[[], RunLimits]
    link: RedisLink | None


def build_cell(
    settings: AgentSettings,
    store: Store,
    clock: Clock,
    *,
    toolbox: Toolbox | None = None,
    library: Library | None = None,
) -> Cell:
    """Wire the parts of one agent; ``toolbox`` and ``library`` replace the real services inside a test."""
    registry = _registry(settings, clock)
    counter = TokenCounter()
    parts = _Parts(
        settings=settings,
        clock=clock,
        store=CountingStore(store, counter),
        feed=Feed(),
        toolbox=toolbox or registry,
        library=library or registry,
        files=Files(settings.home),
        models=open_models(settings, clock),
        limits=partial(RunLimits, settings, Day(store, settings, clock), Factors()),
        link=open_link(settings.doors.redis.url.reveal(), clock),
    )
    worker, visited = _worker(parts), _worker(replace(parts, settings=for_visitors(settings)))
    scheduler = _scheduler(parts, Reception(parts.store, worker, visited))
    conversations = _conversations(parts, store, scheduler)
    afresh = Afresh(
        parts.store,
        conversations,
        worker.preparing.memories,
        worker.preparing.behaviours,
        clock,
        visitors=settings.doors.auth == "public",
    )
    worker.begin_anew, visited.begin_anew = afresh.opened, afresh.opened_to_visitors
    upkeep = _upkeep(parts, conversations)
    scheduler.beside += [afresh.serve, upkeep.serve, partial(load_counter, counter, _default_model(parts))]
    cell = Cell(
        settings,
        parts.store,
        parts.feed,
        scheduler,
        conversations,
        parts.toolbox,
        parts.models,
        clock,
        Uptime(clock),
        Approvals(parts.store, scheduler, parts.feed, parts.toolbox, clock),
        parts.library,
        parts.files,
        worker.preparing,
        afresh,
        upkeep,
        _rates(parts),
    )
    _watch(cell)
    _mirror(cell, store)
    return cell


def _mirror(cell: Cell, store: Store) -> None:
    """What tells an archive of everything that is stored, where there is one."""
    settings = cell.settings
    archive = open_archive(settings.archive, settings.user, cell.clock, redis=settings.doors.redis)
    rules = rules_of(settings.archive)
    if archive is None or rules is None:
        return
    cell.mirror = Mirroring(store, archive, cell.clock, rules=rules, backend=settings.archive.backend)
    cell.archive_lag = cell.mirror.lag_seconds
    cell.scheduler.beside.append(cell.mirror.serve)


def _watch(cell: Cell) -> None:
    """Have what happens logged and, unless that is off, counted."""
    tell_sessions(cell.feed)
    if cell.settings.doors.metrics:
        cell.metrics = Metrics(cell.clock)
        Tally(cell.metrics, cell.clock).listen(cell.feed)


def _worker(parts: _Parts) -> Worker:
    settings, limits = parts.settings, parts.limits
    judging = Judging(settings, parts.store, parts.clock)

    def running(tools: RunTools) -> ToolRunner:
        # Of visitors nobody asks anything: what would be asked has no time to be answered.
        hours = 0.0 if settings.doors.auth == "public" else settings.chat.approval_hours
        longest = settings.limits.result_characters
        calling = Calling(tools, parts.feed, parts.clock, parts.files, hours=hours, longest=longest)
        asks, parallel = settings.policy.max_asks, settings.limits.parallel
        return ToolRunner(tools, judging, calling, parts.feed, limit=limits(), parallel=parallel, max_asks=asks)

    return Worker(
        settings,
        parts.store,
        parts.feed,
        parts.toolbox,
        parts.library,
        parts.models,
        parts.clock,
        running,
        read_file=parts.files.read,
        limits=limits,
    )


def _scheduler(parts: _Parts, worker: Reception) -> Scheduler:
    chat = parts.settings.chat
    return Scheduler(
        parts.store,
        parts.feed,
        worker,
        parts.clock,
        parallel=chat.max_parallel_runs,
        max_turns=chat.max_tool_hops,
        deadline=chat.run_deadline_seconds,
        secret=parts.settings.agent_secret,
    )


def _conversations(parts: _Parts, copies: Copies, scheduler: Scheduler) -> Conversations:
    shared = None if parts.link is None else _shared(parts, copies, parts.link, scheduler)
    conversations = Conversations(
        parts.store,
        scheduler,
        parts.feed,
        parts.clock,
        parts.files,
        _enclosing(parts),
        max_queue=parts.settings.chat.max_queue,
        durable=_lasts(parts.settings),
        initial_prompt=parts.settings.doors.initial_prompt,
        new_id=ids.capability if parts.settings.doors.auth == "public" else ids.ulid,
        elsewhere=shared,
    )
    if shared is not None:
        shared.bind(conversations)
    return conversations


def _shared(parts: _Parts, copies: Copies, link: RedisLink, scheduler: Scheduler) -> SharedMemory:
    """The windows of REST sessions in Redis (`REDIS_URL`); behind a gateway under the person's name."""
    settings, doors = parts.settings, parts.settings.doors
    alone = not settings.agent_secret
    ttl = doors.redis.memory_ttl_hours * HOUR
    shared = SharedMemory(
        parts.store,
        SharedKeys(link, parts.store.epoch, user="" if alone else settings.user, ttl=ttl),
        parts.clock,
        copies=copies,
        ahead=scheduler.ahead,
        tokens=settings.chat.context_max_tokens,
        maximum=doors.memory_max,
        alone=alone,
    )
    parts.feed.listen(ALL, shared.notice)
    scheduler.beside.append(shared.serve)
    return shared


def _rates(parts: _Parts) -> Rates:
    """What this agent counts; without a gateway, which has its secret, it counts addresses too."""
    settings = parts.settings
    return Rates(open_limiter(parts.link, parts.clock), settings.doors.rates, alone=not settings.agent_secret)


def _upkeep(parts: _Parts, conversations: Conversations) -> Upkeep:
    """What looks after a conversation whenever a run of it has ended."""
    feed, settings = parts.feed, parts.settings

    def tell(event: Event) -> None:
        feed.publish(Stored(event, None))

    async def erase(conversation_id: str, only_if: Callable[[ConversationRow], bool]) -> bool:
        return await conversations.erase(conversation_id, only_if=only_if)

    readings = settings.home / "clock.json" if _lasts(settings) else None
    upkeep = Upkeep(
        parts.store,
        parts.models,
        settings,
        parts.clock,
        limits=parts.limits,
        publish=tell,
        readings=readings,
        drop_files=conversations.drop_files,
        erase=erase,
    )

    def notice(item: Item) -> None:
        if isinstance(item, Stored) and item.event.type in _ENDS:
            upkeep.notice(item.event.conversation_id)

    feed.listen(ALL, notice)
    return upkeep


def _default_model(parts: _Parts) -> str:
    return parts.models.candidates(1)[0].model


def _lasts(settings: AgentSettings) -> bool:
    """Whether anything is kept on disk."""
    return settings.persistence.enabled and settings.persistence.type == "sql"


def _enclosing(parts: _Parts) -> Enclosing:
    enabled = [entry for entry in parts.settings.services if entry.enabled]
    trusted = frozenset(entry.name for entry in enabled if entry.trust == "trusted")
    names = frozenset(entry.name for entry in enabled)
    return Enclosing(parts.toolbox, parts.library, parts.files, services=names, trusted=trusted)


def _registry(settings: AgentSettings, clock: Clock) -> ServiceRegistry:
    """The services of one person; what is remembered of them lies beside the history, if that lasts."""
    if _lasts(settings):
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
        client_name=settings.app_name,
    )


def _environment(settings: AgentSettings) -> dict[str, str]:
    """Where the services' PATH, HOME, LANG and TZ come from."""
    shared = {"TOM_ALL_DATADIR": settings.all_datadir} if settings.all_datadir else {}
    return {**os.environ, **shared}
