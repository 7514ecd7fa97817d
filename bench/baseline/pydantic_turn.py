"""One turn of pydantic-ai per line of standard input: a question, a tool call over stdio, an answer. Prints seconds."""

import asyncio
import os
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

TURN = "Please look at my notes."


async def main() -> None:
    """Keep the connections open and answer line by line."""
    url, command, *arguments = sys.argv[1:]
    model = OpenAIChatModel("simulated", provider=OpenAIProvider(base_url=url, api_key="none"))
    service = MCPToolset(StdioTransport(command, arguments, env=dict(os.environ)))
    agent = Agent(model, toolsets=[service])
    loop = asyncio.get_running_loop()
    async with agent:
        while await loop.run_in_executor(None, sys.stdin.readline):
            started = loop.time()
            async with agent.run_stream(TURN) as answer:
                async for _ in answer.stream_text(delta=True, debounce_by=None):
                    pass
            print(loop.time() - started, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
