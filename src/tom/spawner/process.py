"""Agents as processes, forked from a warm parent (`zygote.py`). Needs Linux: pidfd, prctl, /proc.

The spawner binds the agent's listening socket, so that requests may come before the agent serves, and writes the
agent's document into a pipe. When the zygote dies its agents are told to stop by the kernel, drain and end; what they
had accepted is in their history and goes on when they are started again. The next start makes a new zygote, after a
pause that grows when zygotes keep dying.
"""

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tom.clock import Clock, SystemClock
from tom.errors import AgentFailed
from tom.spawner.link import Child, ZygoteLink
from tom.spawner.spawner import AgentHandle, AgentSpec
from tom.spawner.unixpath import SocketDirectory
from tom.telemetry import logs

log = logs.get("pool")

ENTRY = "tom.agent.bootstrap:serve_cell"
PRELOAD = (
    "tom.agent.bootstrap",
    "tom.store.sqlite",
    "tom.llm.scripted",
    "tom.llm.openai",
    "uvloop",
    "uvicorn",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "starlette.applications",
    "starlette.websockets",
    "aiohttp",
    "apsw",
    "msgspec.json",
    "encodings.idna",
    "importlib.resources.readers",
    "importlib.resources._adapters",
)
LATER = (
    "pydantic.main",
    "anyio._backends._asyncio",
    "httpx2",
    "jsonschema.validators",
    "jsonschema.exceptions",
    "mcp_types",
    "mcp_types.methods",
    "mcp",
    "tom.services.connection",
    "tom.services.stdio",
    "tom.services.http",
)
START_SECONDS = 30.0
KILL_SECONDS = 5.0
LARGEST_DOCUMENT = 1_048_576
_STEADY_SECONDS = 60.0
_LONGEST_PAUSE = 60.0
_ENDED_KEPT = 256


class ProcessSpawner:
    """Forks each agent from one warm parent. Made in one event loop's thread and used there."""

    def __init__(
        self,
        *,
        entry: str = ENTRY,
        preload: Sequence[str] = PRELOAD,
        later: Sequence[str] = LATER,
        clock: Clock | None = None,
    ) -> None:
        """``entry`` (``module:function``) is called in the child as ``function(listen_fd, document_fd, user)``.

        ``preload`` is imported by the parent before its first fork, ``later`` whenever it has nothing to do.
        """
        self._entry = entry
        self._preload = preload
        self._later = later
        self._clock = clock or SystemClock()
        self._link: ZygoteLink | None = None
        self._dead_links: list[ZygoteLink] = []
        self._launched = 0.0
        self._deaths = 0
        self._not_before = 0.0
        self._agents: dict[AgentHandle, Child] = {}
        self._ended: OrderedDict[AgentHandle, int] = OrderedDict()
        self._directories: dict[Path, SocketDirectory] = {}
        self._closing = False

    @property
    def zygote_pid(self) -> int | None:
        """The pid of the warm parent, None before the first start."""
        return self._link.pid if self._link else None

    def warm(self) -> None:
        """Start the warm parent now, without waiting for it; needs no running event loop."""
        self._living_link()

    async def start(self, spec: AgentSpec) -> AgentHandle:
        """See `Spawner.start`: it returns when the agent is forked, before it serves."""
        if self._closing:
            raise AgentFailed("Tom is stopping; no agent is started")
        if len(spec.document) > LARGEST_DOCUMENT:
            raise AgentFailed(f"The settings of '{spec.user}' are larger than {LARGEST_DOCUMENT} bytes")
        link = self._living_link()
        path = Path(spec.socket)
        try:
            directory = self._directory(path.parent)
            listener = directory.listen(path.name)
        except OSError as error:
            raise AgentFailed(f"The agent's socket {path} cannot be made: {error.strerror or error}") from error
        reader, writer = os.pipe2(os.O_CLOEXEC)
        await _pour(os.fdopen(writer, "wb", buffering=0), spec.document)
        try:
            child = await link.start(spec.user, self._entry, (listener.fileno(), reader), START_SECONDS)
        except BaseException:
            directory.remove(path.name)
            raise
        finally:
            listener.close()
            os.close(reader)
        handle = AgentHandle(spec.user, child.pid, directory.address(path.name))
        self._agents[handle] = child
        child.ended.add_done_callback(lambda ended: self._note_end(handle, path, ended.result()))
        return handle

    async def poll(self, handle: AgentHandle) -> int | None:
        """See `Spawner.poll`. After the zygote's own death the status of an agent is not known: -15."""
        if handle in self._agents:
            return None
        return self._status(handle)

    async def stop(self, handle: AgentHandle, *, grace: float = 30.0) -> int:
        """See `Spawner.stop`."""
        child = self._agents.get(handle)
        if child is None:
            return self._status(handle)
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
            child.send(number)
            await asyncio.wait([child.ended], timeout=max(seconds, 0.0))
            if child.ended.done():
                return child.ended.result()
            log.warning(f"⚠️ Agent did not stop within {seconds:g} s", event="agent.stop_late", user=handle.user)
        raise AgentFailed(f"The agent of '{handle.user}' (pid {handle.pid}) cannot be ended")

    def hurry(self) -> None:
        """Tell every agent that is stopping to stop at once (a second SIGTERM)."""
        for child in self._agents.values():
            child.send(signal.SIGTERM)

    async def close(self, *, grace: float = 30.0) -> None:
        """See `Spawner.close`: every agent gets ``grace`` seconds, all at the same time."""
        self._closing = True
        async with asyncio.TaskGroup() as group:
            for handle in list(self._agents):
                group.create_task(self.stop(handle, grace=grace))
        for link in (*self._dead_links, *([self._link] if self._link else [])):
            await link.close()
        self._link = None
        for directory in self._directories.values():
            directory.close()
        self._directories.clear()

    def _status(self, handle: AgentHandle) -> int:
        try:
            return self._ended[handle]
        except KeyError:
            raise AgentFailed(f"This spawner did not start the agent of '{handle.user}'") from None

    def _directory(self, path: Path) -> SocketDirectory:
        if path not in self._directories:
            self._directories[path] = SocketDirectory(path)
        return self._directories[path]

    def _living_link(self) -> ZygoteLink:
        """The link to the zygote, launched if there is none or it died, after the pause that its deaths ask for."""
        now = self._clock.monotonic()
        if self._link is not None and self._link.gone:
            self._bury(self._link, now)
        if self._link is None:
            if now < self._not_before:
                wait = self._not_before - now
                raise AgentFailed(f"The agents' parent process ended {self._deaths} times; next try in {wait:.0f} s")
            self._link = ZygoteLink.launch(self._preload, self._later)
            self._launched = now
        return self._link

    def _bury(self, link: ZygoteLink, now: float) -> None:
        self._dead_links = [dead for dead in (*self._dead_links, link) if not dead.reaped()]
        self._deaths = 1 if now - self._launched > _STEADY_SECONDS else self._deaths + 1
        pause = min(2.0 ** (self._deaths - 2), _LONGEST_PAUSE) if self._deaths > 1 else 0.0
        self._not_before = now + pause
        log.error("❌ The agents' parent process ended", event="zygote.ended", deaths=self._deaths, pause=pause)
        self._link = None

    def _note_end(self, handle: AgentHandle, path: Path, status: int) -> None:
        if self._agents.pop(handle, None) is None:
            return
        if not any(other.socket == handle.socket for other in self._agents):
            path.unlink(missing_ok=True)
        self._ended[handle] = status
        if len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)


async def _pour(pipe: IO[bytes], document: bytes) -> None:
    """Write ``document`` and close.

    What does not fit into the pipe at once goes on while the agent reads, and ends when nobody can read any more.
    """
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, pipe)
    transport.write(document)
    transport.close()
