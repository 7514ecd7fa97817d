"""Starts what is measured: the simulated model endpoint, the naive server, Tom. Each is ended when its block ends."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 40.0
USER, PASSWORD = "bench", "a password for measuring only"

CONFIG = """\
global:
  llm: simulated
  log_level: WARNING
  listen: {{host: 127.0.0.1, port: {port}}}
  llms:
    simulated:
      api: none
      base_url: "{upstream}"
      models: [compatible/simulated, compatible/simulated, compatible/simulated]
chat:
  service: {{max_parallel_runs: 256}}
  websocket: {{max_connections_per_user: 512}}
users:
  - username: {user}
    password: "{password}"
"""
"""As a fresh install has it, but for more parallel runs of one person than a person starts."""


@dataclass(slots=True)
class Server:
    """One started program. ``ready_after``: seconds from its start to its first healthy answer."""

    name: str
    pid: int
    url: str
    ready_after: float = 0.0
    tls: ssl.SSLContext | None = field(default=None)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def program(
    name: str, command: list[str], url: str, trust: Callable[[], ssl.SSLContext | None]
) -> AsyncGenerator[Server]:
    """Start a program in a process group of its own and wait until ``url``/health answers 200."""
    with tempfile.TemporaryFile() as log:
        clock = asyncio.get_running_loop().time
        started = clock()
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            tls = await healthy(process, url, trust)
            yield Server(name, process.pid, url, clock() - started, tls)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-3000:])
            raise
        finally:
            await end(process)


async def healthy(
    process: asyncio.subprocess.Process, url: str, trust: Callable[[], ssl.SSLContext | None]
) -> ssl.SSLContext | None:
    """Wait for the first healthy answer."""
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as client:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                tls = trust()
                async with client.get(f"{url}/health", ssl=tls or True) as answer:
                    if answer.status == 200:
                        return tls
            await asyncio.sleep(0.005)
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


def plain() -> None:
    """No TLS."""


@asynccontextmanager
async def upstream(*, chunks: int = 64, pause_ms: int = 0) -> AsyncGenerator[Server]:
    """The simulated model endpoint: each reply has ``chunks`` fragments, ``pause_ms`` apart."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tom.testing.simulated_llm",
        "--port",
        str(port),
        "--chunks",
        str(chunks),
        "--interval-ms",
        str(pause_ms),
    ]
    async with program("direct", command, f"http://127.0.0.1:{port}", plain) as server:
        yield server


@asynccontextmanager
async def naive(model: Server) -> AsyncGenerator[Server]:
    """The baseline."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "bench/baseline/naive.py",
            "--port",
            str(port),
            "--upstream",
            f"{model.url}/v1",
            "--database",
            f"{folder}/events.db",
        ]
        async with program("naive", command, f"http://127.0.0.1:{port}", plain) as server:
            yield server


@asynccontextmanager
async def tom(model: Server) -> AsyncGenerator[Server]:
    """`tom up` with everything on, in a fresh data directory."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        text = CONFIG.format(port=port, upstream=f"{model.url}/v1", user=USER, password=PASSWORD)
        (data / "config.yml").write_text(text)
        (data / "config.yml").chmod(0o600)

        def trust() -> ssl.SSLContext:
            return ssl.create_default_context(cafile=str(data / "tls" / "cert.pem"))

        command = [str(Path(sys.executable).parent / "tom"), "up", "--data", str(data)]
        async with program("tom", command, f"https://localhost:{port}", trust) as server:
            yield server


@asynccontextmanager
async def rivals(*, chunks: int, pause_ms: int = 0) -> AsyncGenerator[tuple[Server, Server, Server]]:
    """The model endpoint, the naive server and Tom, all started."""
    async with upstream(chunks=chunks, pause_ms=pause_ms) as model, naive(model) as baseline, tom(model) as product:
        yield model, baseline, product
