"""B6: one MCP call on a warm stdio connection, and one on warm HTTP against a session per call.

Four pairs of client and server call the same two numbers together in turns: Tom's registry and the SDK's client, with
a server of plain JSON-RPC and with one of the SDK (`examples/demo_server.py`). Over HTTP Tom keeps its connection; the
SDK's client opens one for each call, as clients do that hold none.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import uvloop
from mcp import Client, StdioServerParameters

from measure import Result, finish, median, options, percentile
from servers import ROOT
from tom.config.agent import ServiceEntry
from tom.services.registry import ServiceRegistry
from tom.testing.hostile_services import hostile
from tom.testing.house import free_port

RAW = hostile("sample", name="raw")
SDK = ServiceEntry(name="sdk", command=sys.executable, args=(str(ROOT / "examples/demo_server.py"),))
STDIO_MUST = 1 / 4
HTTP_MUST = 1 / 10
ROUND = 25
"""Calls of one pair before it is the next one's turn."""

type Call = Callable[[], Awaitable[object]]


async def of_tom(stack: AsyncExitStack, entry: ServiceEntry) -> Call:
    """A call through Tom's registry, everything on."""
    registry = await stack.enter_async_context(ServiceRegistry([entry]))
    tool = next(tool for tool in (await registry.tools()).tools if tool.tool == "add")

    async def call() -> object:
        outcome = await registry.call(tool, {"a": 2, "b": 3}, key="run:1:call")
        assert outcome.content == "5", outcome
        return outcome

    return call


async def of_sdk(stack: AsyncExitStack, entry: ServiceEntry) -> Call:
    """A call through the SDK's client, as it comes."""
    client = await stack.enter_async_context(
        Client(StdioServerParameters(command=entry.command, args=list(entry.args)))
    )
    await client.list_tools()
    return lambda: client.call_tool("add", {"a": 2, "b": 3})


async def session_per_call(url: str) -> object:
    """Open, call, close."""
    async with Client(url) as client:
        return await client.call_tool("add", {"a": 2, "b": 3})


async def in_turns(calls: dict[str, tuple[Call, int]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call; a pair makes so many in one round."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (call, times) in calls.items():
            for _ in range(times):
                before = time.perf_counter()
                await call()
                if number:  # the first round warms up
                    took[name].append((time.perf_counter() - before) * 1000)
    return took


async def http_server(stack: AsyncExitStack) -> str:
    """The SDK's server as a program of its own; returns its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, *SDK.args, "--http", str(port))
    stack.push_async_callback(process.wait)
    stack.callback(process.kill)
    async with asyncio.timeout(30):
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"http://127.0.0.1:{port}/mcp"
            await asyncio.sleep(0.05)


async def measure(rounds: int) -> Result:
    """All pairs, in turns."""
    async with AsyncExitStack() as stack:
        stdio = {
            "Tom to raw": await of_tom(stack, RAW),
            "SDK to raw": await of_sdk(stack, RAW),
            "Tom to SDK": await of_tom(stack, SDK),
            "SDK to SDK": await of_sdk(stack, SDK),
        }
        took = await in_turns({name: (call, ROUND) for name, call in stdio.items()}, rounds)
        url = await http_server(stack)
        warm = await of_tom(stack, ServiceEntry(name="http", url=url))
        http = {"Tom, warm HTTP": (warm, ROUND), "SDK, a session per call": (lambda: session_per_call(url), 2)}
        took |= await in_turns(http, max(5, rounds // 4))
    result = Result("B6", "one MCP call", ("pair", "p50 ms", "p99 ms"))
    for name, values in took.items():
        result.add(name, median(values), percentile(values, 0.99))
    over_stdio = median(took["Tom to raw"]) / median(took["SDK to SDK"])
    over_http = median(took["Tom, warm HTTP"]) / median(took["SDK, a session per call"])
    beside = median(took["Tom to SDK"]) / median(took["SDK to SDK"])
    result.numbers = {name: median(values) for name, values in took.items()}
    result.numbers |= {"stdio_ratio": over_stdio, "http_ratio": over_http, "same_server_ratio": beside}
    result.must[f"stdio: {over_stdio:.3f} of SDK to SDK (at most {STDIO_MUST})"] = over_stdio <= STDIO_MUST
    result.must[f"HTTP: {over_http:.3f} of a session per call (at most {HTTP_MUST})"] = over_http <= HTTP_MUST
    result.series = took
    result.unit = "ms"
    return result


if __name__ == "__main__":
    asked = options(__doc__, rounds=20)
    finish(uvloop.run(measure(asked.rounds)), plot=asked.plot)
