"""Agents inside the calling process, for tests of what sits above a spawner: no fork, but real Unix sockets."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tom.errors import AgentFailed
from tom.spawner.spawner import AgentHandle, AgentSpec
from tom.spawner.unixpath import SocketDirectory

type ASGIApp = Callable[[Any, Any, Any], Any]
NO_PROCESS = 1 << 23  # above every pid the kernel gives out, so that a signal sent to it reaches nobody


@dataclass(slots=True, eq=False)
class _Running:
    server: Any
    task: asyncio.Task[int]
    directory: SocketDirectory
    path: Path
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class MemorySpawner:
    """Serves ``factory(spec)`` with uvicorn on the socket of each spec; its pids are numbers that no process has."""

    def __init__(self, factory: Callable[[AgentSpec], ASGIApp]) -> None:
        """``factory`` makes one agent's ASGI application from what a process would be told."""
        self._factory = factory
        self._numbers = itertools.count(NO_PROCESS)
        self._running: dict[AgentHandle, _Running] = {}
        self._ended: dict[AgentHandle, int] = {}
        self._closing = False
        self._group: asyncio.TaskGroup | None = None

    async def start(self, spec: AgentSpec) -> AgentHandle:
        """See `Spawner.start`."""
        if self._closing:
            raise AgentFailed("Tom is stopping; no agent is started")
        path = Path(spec.socket)
        try:
            directory = SocketDirectory(path.parent)
            listener = directory.listen(path.name)
        except OSError as error:
            raise AgentFailed(f"The agent's socket {path} cannot be made: {error.strerror or error}") from error
        server = make_server(self._factory(spec))
        if self._group is None:
            self._group = await asyncio.TaskGroup().__aenter__()
        task = self._group.create_task(_serve(server, listener), name=f"agent {spec.user}")
        handle = AgentHandle(spec.user, next(self._numbers), directory.address(path.name))
        self._running[handle] = _Running(server, task, directory, path)
        task.add_done_callback(lambda _: self._note_end(handle))
        return handle

    async def poll(self, handle: AgentHandle) -> int | None:
        """See `Spawner.poll`."""
        return None if handle in self._running else self._status(handle)

    async def stop(self, handle: AgentHandle, *, grace: float = 30.0) -> int:
        """See `Spawner.stop`."""
        running = self._running.get(handle)
        if running is None:
            return self._status(handle)
        running.server.should_exit = True
        await asyncio.wait([running.task], timeout=grace)
        if not running.task.done():
            await self.kill(handle)
        return await self._after_end(handle, running)

    async def kill(self, handle: AgentHandle) -> None:
        """End it as SIGKILL would: connections are cut, nothing is finished, its status is -9."""
        running = self._running[handle]
        for connection in list(running.server.server_state.connections):
            connection.transport.abort()
        running.task.cancel()
        await self._after_end(handle, running)

    async def close(self) -> None:
        """See `Spawner.close`."""
        self._closing = True
        async with asyncio.TaskGroup() as group:
            for handle in list(self._running):
                group.create_task(self.stop(handle))
        if self._group is not None:
            group, self._group = self._group, None
            await group.__aexit__(None, None, None)

    async def _after_end(self, handle: AgentHandle, running: _Running) -> int:
        await running.ended.wait()
        return self._ended[handle]

    def _status(self, handle: AgentHandle) -> int:
        try:
            return self._ended[handle]
        except KeyError:
            raise AgentFailed(f"This spawner did not start the agent of '{handle.user}'") from None

    def _note_end(self, handle: AgentHandle) -> None:
        running = self._running.pop(handle)
        running.directory.close()
        if not any(other.path == running.path for other in self._running.values()):
            running.path.unlink(missing_ok=True)
        self._ended[handle] = -signal.SIGKILL if running.task.cancelled() else running.task.result()
        running.ended.set()


async def _serve(server: Any, listener: Any) -> int:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as end:  # uvicorn's answer to an application that fails to start
        return end.code if isinstance(end.code, int) else 1
    finally:
        # A killed server has not closed its own listeners: the loop would go on watching a descriptor that is reused.
        for open_listener in getattr(server, "servers", ()):
            open_listener.close()
        listener.close()
    return 0


def make_server(application: ASGIApp) -> Any:
    """A uvicorn server for ``application`` that leaves signals alone; ``should_exit`` stops it."""
    import uvicorn  # noqa: PLC0415 - only where an agent is served

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:  # the calling process keeps its own
            yield

    config = uvicorn.Config(
        application, http="httptools", ws="websockets-sansio", log_config=None, access_log=False, server_header=False
    )
    return Server(config)
