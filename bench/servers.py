"""Starts what is measured: the simulated model endpoint, the naive server, Tom. Each is ended when its block ends."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tom.testing.house import House, free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 40.0
PEOPLE = tuple(f"person-{number}" for number in range(4))
STREAMS_EACH = 50
"""So many streams one person has at most: 200 streams are four people's, each with an agent."""


@dataclass(frozen=True, slots=True)
class Server:
    """One started program: ``name`` is direct, naive or tom, ``pid`` its first process."""

    name: str
    pid: int
    url: str
    tls: ssl.SSLContext | None = None


def settings(model_url: str, **websocket: Any) -> dict[str, Any]:
    """As a fresh install has it, but for more parallel runs, sockets and messages of one person than a person sends.

    Rates are counted, with limits that a benchmark does not reach; ``websocket``: further keys of that section.
    """
    simulated = {"api": "none", "base_url": model_url, "models": "compatible/simulated"}
    return {
        "global": {"llm": "simulated", "log_level": "WARNING", "llms": {"simulated": simulated}},
        "chat": {
            "service": {"max_parallel_runs": 64},
            "websocket": {"max_connections_per_user": 128, "actions_per_second": 10_000, **websocket},
        },
    }


@asynccontextmanager
async def program(name: str, *arguments: object, port: int, health: str) -> AsyncGenerator[Server]:
    """Start a Python program in a process group of its own and wait until ``health`` answers 200."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            await healthy(process, url + health)
            yield Server(name, process.pid, url)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-3000:])
            raise
        finally:
            await end(process)


async def healthy(process: asyncio.subprocess.Process, url: str) -> None:
    """Wait for the first healthy answer."""
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as client:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.01)
    message = f"{url}: the program ended with status {process.returncode}"
    raise RuntimeError(message)


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL for the whole group."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def upstream(*, chunks: int = 64, pause_ms: int = 0) -> AsyncGenerator[Server]:
    """The simulated model endpoint: each reply has ``chunks`` fragments, ``pause_ms`` apart."""
    port = free_port()
    arguments = ("-m", "tom.testing.simulated_llm", "--port", port, "--chunks", chunks, "--delay-ms", pause_ms)
    async with program("direct", *arguments, port=port, health="/v1/models") as server:
        yield server


@asynccontextmanager
async def naive(model: Server) -> AsyncGenerator[Server]:
    """The baseline."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--port", port, "--upstream", f"{model.url}/v1", "--database", f"{folder}/events.db")
        async with program("naive", "bench/baseline/naive.py", *arguments, port=port, health="/health") as server:
            yield server


@asynccontextmanager
async def tom(model: Server, **websocket: Any) -> AsyncGenerator[Server]:
    """`tom up` with everything on, in a fresh data directory."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), settings=settings(f"{model.url}/v1", **websocket), people=PEOPLE)
        await house.start()
        try:
            yield Server("tom", house.process.pid, house.url, house.tls())
        except BaseException:
            sys.stderr.write(house.log[-3000:])
            raise
        finally:
            await house.stop()


@asynccontextmanager
async def rivals(*, chunks: int, pause_ms: int = 0) -> AsyncGenerator[tuple[Server, Server, Server]]:
    """The model endpoint, the naive server and Tom, all started."""
    async with upstream(chunks=chunks, pause_ms=pause_ms) as model, naive(model) as baseline, tom(model) as product:
        yield model, baseline, product
