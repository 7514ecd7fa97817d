"""One agent, started from a warm parent, asked, stopped; in a directory of its own, with the scripted model."""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from tom.cli.checks.finding import Finding, House, fail, ok
from tom.config.agent import AgentSettings, LogSettings
from tom.config.secret import Secret
from tom.errors import TomError
from tom.ids import secret_token, ulid

USER = "doctor"
SECONDS = 15.0
QUESTION = "help"


async def check_agent(house: House) -> AsyncGenerator[Finding]:
    """Start, ask, stop; with the time and the memory that each took."""
    del house  # an agent of nobody's, so that nobody's history is touched
    try:
        with tempfile.TemporaryDirectory(prefix="tom-doctor-") as scratch:
            async with asyncio.timeout(4 * SECONDS):
                yield ok("agent", await _life(Path(scratch)))
    except (TomError, OSError, ValueError, TimeoutError) as error:
        yield fail("agent", f"it does not work: {error}", "look at what it printed above; run: uv sync")


async def _life(scratch: Path) -> str:
    from tom.config.document import encode_agent
    from tom.spawner.process import ProcessSpawner
    from tom.spawner.spawner import AgentSpec

    secret = secret_token()
    settings = AgentSettings(
        user=USER, home=scratch / "home", agent_secret=Secret(secret), llm="scripted", log=LogSettings(level="ERROR")
    )
    spawner = ProcessSpawner(later=())
    try:
        began = time.perf_counter()
        spawner.warm()
        await spawner.stop(await spawner.start(AgentSpec(USER, encode_agent(settings), str(scratch / "a" / "0.sock"))))
        warm = time.perf_counter()
        handle = await spawner.start(AgentSpec(USER, encode_agent(settings), str(scratch / "a" / "1.sock")))
        await _ask(handle.socket, secret, "GET", b"/health")
        awake = time.perf_counter()
        answer = await _ask(handle.socket, secret, "POST", b"/process", {"request": QUESTION})
        answered = time.perf_counter()
        if answer.get("status") != "OK":
            raise ValueError(f"its answer was {answer.get('message', answer)}")
        memory = _memory(handle.pid)
        status = await spawner.stop(handle, grace=SECONDS)
        stopped = time.perf_counter()
    finally:
        await spawner.close()
    times = f"parent warm after {_ms(began, warm)}, agent awake after {_ms(warm, awake)}"
    return f"{times}, answered in {_ms(awake, answered)}, stopped in {_ms(answered, stopped)} (status {status}){memory}"


async def _ask(
    socket: str, secret: str, method: str, target: bytes, body: dict[str, str] | None = None
) -> dict[str, object]:
    from tom.gateway.agentlink import exchange, link_headers

    content = json.dumps(body).encode() if body is not None else b""
    headers = [*link_headers(USER, secret, ulid()), (b"content-type", b"application/json")]
    link = await exchange(socket, method, target, headers, content)
    with contextlib.closing(link):
        await link.head(SECONDS)
        return json.loads(await link.body(SECONDS))


def _ms(begin: float, end: float) -> str:
    return f"{(end - begin) * 1000:.0f} ms"


def _memory(pid: int) -> str:
    """The memory that it shares with nobody, where this process may see it."""
    if os.geteuid() != 0:
        return ""  # an agent cannot be looked into by its own user either
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return f", {kib / 1024:.1f} MiB of its own"
