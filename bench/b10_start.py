"""B10: ``tom up`` to the first healthy answer over HTTPS, from an empty directory and for the second time.

Beside it, an interpreter that starts and does nothing: what no program written in Python can go below.
"""

import asyncio
import compileall
import contextlib
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path

from measure import Result, finish, median, options, percentile
from tom.testing.house import free_port

MUST_SECONDS = 1.5
AIM_SECONDS = 0.25
SOURCE = Path(__file__).resolve().parents[1] / "src" / "tom"
HELLO = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


async def measure(rounds: int) -> Result:
    """Take turns: nothing, an empty directory, the same directory again."""
    compileall.compile_dir(SOURCE, quiet=2)  # as an installation does
    figures: dict[str, list[float]] = {"interpreter": [], "empty directory": [], "second start": []}
    spoken: list[float] = []
    for _ in range(rounds):
        figures["interpreter"].append(await interpreter())
        with tempfile.TemporaryDirectory() as folder:
            for name in ("empty directory", "second start"):
                seconds, said = await one_start(Path(folder) / "data")
                figures[name].append(seconds)
                spoken.append(said)
    return table(figures, spoken)


async def interpreter() -> float:
    """Start and end."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await process.wait()
    return time.perf_counter() - began


async def one_start(data: Path) -> tuple[float, float]:
    """Seconds to the first healthy answer, and to the lines that say where it is."""
    port = free_port()
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tom.cli.main", "up", "--data", str(data), "--port", str(port),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            said = group.create_task(until_said(process.stdout, began))
            healthy = group.create_task(until_healthy(data, port, began))
    finally:
        process.terminate()
        await process.wait()
    return healthy.result(), said.result()


async def until_said(output: asyncio.StreamReader, began: float) -> float:
    """Until the last of the first lines is printed."""
    async for line in output:
        if b"nothing is lost" in line:
            return time.perf_counter() - began
    message = "it ended before it had said where it is"
    raise RuntimeError(message)


async def until_healthy(data: Path, port: int, began: float) -> float:
    """Ask until the answer is 200."""
    while True:
        with contextlib.suppress(OSError, ValueError):
            context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.write(HELLO)
            answer = await reader.read()
            elapsed = time.perf_counter() - began
            writer.close()
            if answer.startswith(b"HTTP/1.1 200") and json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "ok":
                return elapsed
        await asyncio.sleep(0.002)


def table(figures: dict[str, list[float]], spoken: list[float]) -> Result:
    """Medians."""
    result = Result("B10", "tom up to the first healthy answer (s)", ("start", "median", "p95", "worst"), unit="s")
    for name, values in figures.items():
        result.add(name, median(values), percentile(values, 0.95), max(values))
    result.add("first lines printed", median(spoken), percentile(spoken, 0.95), max(spoken))
    empty, second = median(figures["empty directory"]), median(figures["second start"])
    result.numbers = {"empty_s": empty, "second_s": second, "said_s": median(spoken), "aim_s": AIM_SECONDS}
    result.must[f"an empty directory answers within {MUST_SECONDS} s"] = empty <= MUST_SECONDS
    result.must[f"a second start answers within {MUST_SECONDS} s"] = second <= MUST_SECONDS
    result.series = {name: figures[name] for name in ("empty directory", "second start")}
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=10)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
