"""One turn of LiteLLM per line of standard input: a question, a tool call over stdio, an answer. Prints seconds.

LiteLLM itself runs no turns: this is the shortest loop around `litellm.acompletion` with the SDK's client for the tool.
"""

import asyncio
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else importing it asks the network for prices

import litellm  # noqa: TID251 - measured beside Tom, which never imports it
from mcp import Client, StdioServerParameters

TURN = "Please look at my notes."


async def reply(url: str, messages: list[dict], tools: list[dict]) -> dict:
    """One streamed reply, put together."""
    stream = await litellm.acompletion(
        model="openai/simulated", api_base=url, api_key="none", messages=messages, tools=tools, stream=True
    )
    text, calls = "", {}
    async for chunk in stream:
        delta = chunk.choices[0].delta
        text += delta.content or ""
        for piece in delta.tool_calls or ():
            call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            call["id"] = piece.id or call["id"]
            call["name"] = piece.function.name or call["name"]
            call["arguments"] += piece.function.arguments or ""
    return {"text": text, "calls": list(calls.values())}


def asked(calls: list[dict]) -> dict:
    """The message in which the model asks for calls."""
    wanted = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": wanted}


async def turn(url: str, service: Client, tools: list[dict]) -> str:
    """Ask, call what is asked for, until there is an answer."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TURN}]
    while (said := await reply(url, messages, tools))["calls"]:
        messages.append(asked(said["calls"]))
        for call in said["calls"]:
            result = await service.call_tool(call["name"], json.loads(call["arguments"] or "{}"))
            content = "".join(part.text for part in result.content if part.type == "text")
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return said["text"]


async def main() -> None:
    """Keep the connections open and answer line by line."""
    url, command, *arguments = sys.argv[1:]
    loop = asyncio.get_running_loop()
    async with Client(StdioServerParameters(command=command, args=arguments, env=dict(os.environ))) as service:
        tools = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in (await service.list_tools()).tools
        ]
        while await loop.run_in_executor(None, sys.stdin.readline):
            started = loop.time()
            answer = await turn(url, service, tools)
            taken = loop.time() - started
            assert answer, "no answer"
            print(taken, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
