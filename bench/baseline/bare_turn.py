"""One turn without any framework per line of standard input: a question, a tool call over stdio, an answer. Prints seconds.

Two streamed requests over one kept connection, their events read as JSON, and one line of JSON-RPC in between: nothing
is stored, checked or shown. It says how much of everybody's turn is the endpoint, the service and this machine.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp

TURN = "Please look at my notes."


class Service:
    """A stdio service, asked in plain JSON-RPC."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        """Speak with ``child``."""
        self._child = child
        self._number = 0

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self._child.stdin.write(json.dumps(request).encode() + b"\n")
        return json.loads(await self._child.stdout.readline())["result"]


async def reply(http: aiohttp.ClientSession, url: str, messages: list[dict], tools: list[dict]) -> dict[str, Any]:
    """One streamed reply, put together."""
    body = {"model": "simulated", "messages": messages, "tools": tools, "stream": True}
    text, call = "", {"id": "", "name": "", "arguments": ""}
    async with http.post(f"{url}/chat/completions", json=body) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                delta = choice["delta"]
                text += delta.get("content") or ""
                for piece in delta.get("tool_calls") or ():
                    call["id"] = piece.get("id") or call["id"]
                    call["name"] = piece["function"].get("name") or call["name"]
                    call["arguments"] += piece["function"].get("arguments") or ""
    return {"text": text, "call": call if call["id"] else None}


async def turn(http: aiohttp.ClientSession, url: str, service: Service, tools: list[dict]) -> str:
    """Ask, call what is asked for, until there is an answer."""
    messages: list[dict] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TURN}]
    while call := (said := await reply(http, url, messages, tools))["call"]:
        function = {"name": call["name"], "arguments": call["arguments"]}
        wanted = [{"id": call["id"], "type": "function", "function": function}]
        messages.append({"role": "assistant", "content": None, "tool_calls": wanted})
        asked = {"name": call["name"], "arguments": json.loads(call["arguments"])}
        result = await service.ask("tools/call", asked)
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result["content"][0]["text"]})
    return said["text"]


async def main() -> None:
    """Keep the connections open and answer line by line."""
    url, command, *arguments = sys.argv[1:]
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(
        command, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    service = Service(child)
    await service.ask("initialize", {})
    listed = (await service.ask("tools/list", {}))["tools"]
    tools = [
        {
            "type": "function",
            "function": {"name": tool["name"], "description": tool["description"], "parameters": tool["inputSchema"]},
        }
        for tool in listed
    ]
    async with aiohttp.ClientSession() as http:
        while await loop.run_in_executor(None, sys.stdin.readline):
            started = loop.time()
            answer = await turn(http, url, service, tools)
            taken = loop.time() - started
            assert answer, "no answer"
            print(taken, flush=True)
    child.stdin.close()
    await child.wait()


if __name__ == "__main__":
    asyncio.run(main())
