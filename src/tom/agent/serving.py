"""The life of one agent process: open, recover, serve, drain, close.

On SIGTERM: new messages are refused at once, running turns end within 20 seconds or are parked, calls in flight get 5
more, the store is closed with a checkpoint, sockets are closed 1012, and the process ends. A second signal skips the
waiting.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator

import uvicorn

from tom.agent.app import AgentApp
from tom.agent.cell import Cell
from tom.agent.frameprotocol import FrameProtocol
from tom.agent.identify import AtControlSocket, Door
from tom.agent.requestprotocol import PassedOnProtocol, RequestProtocol
from tom.agent.tally import tell_configuration
from tom.agent.underserver import Outside
from tom.telemetry import logs

GRACE = 20.0
LAST = 5.0
FLUSH = 2.0
RESTART = 75
"""EX_TEMPFAIL of sysexits.h: an admin wants it started again, also by a supervisor that leaves alone what ended well."""

log = logs.get("agent")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: this module decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield


def make_server(app: AgentApp, cell: Cell) -> uvicorn.Server:
    """The HTTP and WebSocket server of an agent."""
    chat = cell.settings.chat
    config = uvicorn.Config(
        app,
        loop="none",
        http=RequestProtocol if app.alone else PassedOnProtocol,
        ws=FrameProtocol,
        ws_max_size=chat.max_message_size,
        ws_ping_interval=chat.ping_interval,
        ws_ping_timeout=chat.ping_timeout,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


async def serve(
    cell: Cell,
    door: Door,
    listening: socket.socket | None,
    *,
    control: socket.socket | None = None,
    outside: Outside | None = None,
) -> int:
    """Serve until a signal says stop; returns the exit status. At ``control`` the operator of an agent alone is served.

    With ``outside`` somebody else's server serves the application, says when to stop, and keeps the signals.
    """
    stopping = outside.stopping if outside else asyncio.Event()
    stop_now = asyncio.Event()
    if outside is None:
        _on_signals(stopping, stop_now)
    ready, stopped = asyncio.Event(), asyncio.Event()
    app = AgentApp(cell, door)
    servers = [(make_server(app, cell), listening)] if listening is not None else []
    if control is not None:
        servers.append((make_server(AgentApp(cell, AtControlSocket(cell.settings.user)), cell), control))
    await cell.toolbox.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(cell.scheduler.serve(ready, stopped))
        await ready.wait()
        cell.ready = True
        serving = [group.create_task(server.serve(sockets=[place])) for server, place in servers]
        tidying = group.create_task(cell.door_file.run()) if cell.door_file else None
        if outside is not None:
            outside.ready.set_result(app)
        log.info("🚀 Agent serves", event="agent_started")
        tell_configuration(cell.settings, cell.rates.limiter.backend)
        restarting = cell.admin.house.restarting if cell.admin else asyncio.Event()
        waits = [asyncio.ensure_future(event.wait()) for event in (stopping, restarting)]
        await asyncio.wait([*waits, *serving], return_when=asyncio.FIRST_COMPLETED)
        cell.ready = False
        await _drain(cell, stop_now)
        cell.feed.close()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.wait(serving)
        if tidying:
            tidying.cancel()
        if cell.mirror is not None:
            await cell.mirror.flush(FLUSH)  # as far as it goes
        stopped.set()
    unfinished = cell.scheduler.unfinished_runs
    await cell.toolbox.close()
    await cell.models.close()
    await cell.rates.limiter.close()
    await cell.store.close()
    log.info("🛑 Agent stopped", event="agent_stopped", unfinished=unfinished)
    return RESTART if restarting.is_set() else 0


def _on_signals(stopping: asyncio.Event, stop_now: asyncio.Event) -> None:
    def signalled() -> None:
        if stopping.is_set():
            stop_now.set()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)


async def _drain(cell: Cell, stop_now: asyncio.Event) -> None:
    draining = asyncio.ensure_future(cell.scheduler.drain(GRACE, LAST))
    hurry = asyncio.ensure_future(stop_now.wait())
    await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        draining.cancel()
        await cell.scheduler.drain(0.0, LAST)
    hurry.cancel()
    await asyncio.wait([draining, hurry])
