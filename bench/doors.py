"""Clients of Tom's other doors: a REST session read as server-sent events, and the OpenAI-compatible door."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from clients import ANSWER_SECONDS, QUESTION, Client, Timing, client, events, session
from servers import PEOPLE, STREAMS_EACH, Server
from tom.testing.house import PASSWORD

DOORS = ("ws", "sse", "openai")
NUMBERS = itertools.count(1)


@dataclass(slots=True)
class Sse:
    """One session of the REST door; the answer is read as it is written."""

    http: aiohttp.ClientSession
    url: str
    session: str
    asked: int = 0

    async def ask(self) -> Timing:
        """One message."""
        clock = asyncio.get_running_loop().time
        self.asked += 1
        body = {"content": QUESTION, "request_id": f"{self.session}-{self.asked}"}
        headers = {"Accept": "text/event-stream", "X-Tom-Client": "bench"}
        address = f"{self.url}/sessions/{self.session}/messages"
        started, accepted, first, characters = clock(), 0.0, 0.0, 0
        async with asyncio.timeout(ANSWER_SECONDS), self.http.post(address, json=body, headers=headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{address}: {answer.status} {await answer.text()}")
            event = ""
            async for line in answer.content:
                if line.startswith(b"event: "):
                    event = line[7:].decode().strip()
                    accepted = accepted or (clock() - started if event == "accepted" else 0.0)
                elif line.startswith(b"data: ") and event in {"chunk", "error"}:
                    frame = json.loads(line[6:])
                    if event == "error":
                        raise RuntimeError(json.dumps(frame))
                    if frame["chunk"].get("type") == "text":
                        first = first or clock() - started
                        characters += len(frame["chunk"]["data"])
        if not characters:
            raise RuntimeError(f"{address}: an empty answer")
        return Timing(accepted, first, clock() - started, characters)


@dataclass(slots=True)
class OpenAI:
    """Stateless completions with an API token."""

    http: aiohttp.ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self) -> Timing:
        """One streamed completion."""
        body = {"model": "tom", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
        return await events(self.http, f"{self.url}/v1/chat/completions", body, "content", self.headers)


async def token_of(http: aiohttp.ClientSession, url: str) -> str:
    """A token with the scope ``openai``, made by whoever is logged in."""
    body = {"name": f"bench-{next(NUMBERS)}", "scopes": ["openai"], "password": PASSWORD}
    async with http.post(f"{url}/tokens", json=body, headers={"X-Tom-Client": "bench"}) as answer:
        if answer.status != 201:
            raise RuntimeError(f"/tokens: {answer.status} {await answer.text()}")
        return (await answer.json())["token"]


async def session_of(http: aiohttp.ClientSession, url: str) -> str:
    """A new session's id."""
    async with http.post(f"{url}/sessions", json={}, headers={"X-Tom-Client": "bench"}) as answer:
        if answer.status != 201:
            raise RuntimeError(f"/sessions: {answer.status} {await answer.text()}")
        return (await answer.json())["id"]


@asynccontextmanager
async def at_door(server: Server, door: str, count: int, *, warm: bool = True) -> AsyncGenerator[list[Client]]:
    """``count`` clients of one of Tom's doors, `STREAMS_EACH` of one person; ``ws`` is the chat socket."""
    async with AsyncExitStack() as stack:
        people = PEOPLE[: -(-count // STREAMS_EACH)]
        sessions = [await stack.enter_async_context(session(server, person)) for person in people]
        tokens = [await token_of(http, server.url) for http in sessions] if door == "openai" else []
        made: list[Client] = []
        for number in range(count):
            http = sessions[number // STREAMS_EACH]
            if door == "sse":
                made.append(Sse(http, server.url, await session_of(http, server.url)))
            elif door == "openai":
                made.append(OpenAI(http, server.url, {"Authorization": f"Bearer {tokens[number // STREAMS_EACH]}"}))
            else:
                made.append(await stack.enter_async_context(client(server, http, number)))
        if warm:
            await asyncio.gather(*(one.ask() for one in made))
        yield made
