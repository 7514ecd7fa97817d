"""One turn of openai-agents per line of standard input: a question, a tool call over stdio, an answer. Prints seconds."""

import asyncio
import os
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai import AsyncOpenAI

TURN = "Please look at my notes."


async def main() -> None:
    """Keep the connections open and answer line by line."""
    url, command, *arguments = sys.argv[1:]
    set_tracing_disabled(True)
    model = OpenAIChatCompletionsModel("simulated", AsyncOpenAI(base_url=url, api_key="none"))
    parameters = {"command": command, "args": arguments, "env": dict(os.environ)}
    loop = asyncio.get_running_loop()
    async with MCPServerStdio(parameters, cache_tools_list=True) as service:
        agent = Agent(name="rival", instructions="Be brief.", model=model, mcp_servers=[service])
        while await loop.run_in_executor(None, sys.stdin.readline):
            started = loop.time()
            result = Runner.run_streamed(agent, TURN)
            async for _ in result.stream_events():
                pass
            print(loop.time() - started, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
