"""Clients that ask once and say when what arrived. All three parse as little as they can: they share the machine."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from servers import PEOPLE, STREAMS_EACH, Server
from tom.testing.house import PASSWORD

ANSWER_SECONDS = 120.0
NUMBERS = itertools.count(1)
"""Of conversations: the same request in the same conversation would be answered from the history."""
QUESTION = "Tell me something about the sea, in a few sentences."


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from asking: to the acknowledgement (0 where there is none), the first text, the end; and the text's size."""

    accepted: float
    first: float
    total: float
    characters: int


class Client(Protocol):
    """One conversation with one server."""

    async def ask(self) -> Timing:
        """Ask, read the whole answer. Raises `RuntimeError` when it is an error or not the answer."""
        ...


@dataclass(slots=True)
class Direct:
    """The model endpoint itself, as the floor."""

    http: aiohttp.ClientSession
    url: str

    async def ask(self) -> Timing:
        """One streamed completion."""
        body = {
            "model": "simulated",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": QUESTION}],
        }
        return await events(self.http, f"{self.url}/v1/chat/completions", body, "content")


@dataclass(slots=True)
class Naive:
    """The baseline's one route."""

    http: aiohttp.ClientSession
    url: str
    conversation: str

    async def ask(self) -> Timing:
        """One question."""
        return await events(
            self.http, f"{self.url}/chat", {"conversation_id": self.conversation, "text": QUESTION}, "text"
        )


async def events(
    http: aiohttp.ClientSession, url: str, body: object, key: str, headers: dict[str, str] | None = None
) -> Timing:
    """Post and read server-sent events; the text is under ``key``, at any depth."""
    clock = asyncio.get_running_loop().time
    started, first, characters = clock(), 0.0, 0
    async with asyncio.timeout(ANSWER_SECONDS), http.post(url, json=body, headers=headers) as answer:
        if answer.status != 200:
            message = f"{url}: {answer.status} {await answer.text()}"
            raise RuntimeError(message)
        async for line in answer.content:
            if line.startswith(b"data: {"):
                text = find(json.loads(line[6:]), key)
                if text and not first:
                    first = clock() - started
                characters += len(text)
    if not characters:
        message = f"{url}: an empty answer"
        raise RuntimeError(message)
    return Timing(0.0, first, clock() - started, characters)


def find(value: object, key: str) -> str:
    """The text under ``key`` in either of the two shapes."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            return value[key]
        choices = value.get("choices") or [{}]
        return (choices[0].get("delta") or {}).get(key) or ""
    return ""


@dataclass(slots=True)
class Tom:
    """A socket of the chat door, logged in, over TLS."""

    socket: aiohttp.ClientWebSocketResponse
    conversation: str
    asked: int = 0

    async def ask(self) -> Timing:
        """One chat message."""
        clock = asyncio.get_running_loop().time
        self.asked += 1
        payload = {"text": QUESTION, "conversation_id": self.conversation}
        started, accepted, first, characters = clock(), 0.0, 0.0, 0
        await self.socket.send_str(
            json.dumps({"action": "chat", "request_id": f"{self.conversation}-{self.asked}", "payload": payload})
        )
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                frame = json.loads(await self.socket.receive_str())
                match frame["status"]:
                    case "accepted":
                        accepted = clock() - started
                    case "chunk":
                        first = first or clock() - started
                        characters += len(frame["chunk"]["data"])
                    case "complete":
                        return Timing(accepted, first, clock() - started, characters)
                    case "error":
                        raise RuntimeError(json.dumps(frame))


@asynccontextmanager
async def session(server: Server, person: str) -> AsyncGenerator[aiohttp.ClientSession]:
    """One HTTP client for many connections, with the person's login where the server is Tom."""
    connector = aiohttp.TCPConnector(limit=0, ssl=server.tls or True)
    async with aiohttp.ClientSession(connector=connector) as http:
        if server.name == "tom":
            async with http.post(f"{server.url}/login", json={"username": person, "password": PASSWORD}) as answer:
                if answer.status != 200:
                    message = f"login: {answer.status} {await answer.text()}"
                    raise RuntimeError(message)
        yield http


@asynccontextmanager
async def client(server: Server, http: aiohttp.ClientSession, number: int) -> AsyncGenerator[Client]:
    """The client of this kind of server, with a conversation of its own."""
    if server.name == "direct":
        yield Direct(http, server.url)
    elif server.name == "naive":
        yield Naive(http, server.url, f"c{number}")
    else:
        parts = urlsplit(server.url)
        headers = {"Origin": f"{parts.scheme}://{parts.netloc}"}
        async with http.ws_connect(f"{server.url}/ws/chat", headers=headers, max_msg_size=0, compress=0) as socket:
            yield Tom(socket, f"bench-{next(NUMBERS)}")


@asynccontextmanager
async def clients(
    server: Server, count: int, *, each: int = STREAMS_EACH, warm: bool = True
) -> AsyncGenerator[list[Client]]:
    """``count`` clients, ``each`` of one person, warmed up by one answer."""
    async with AsyncExitStack() as stack:
        people = PEOPLE[: -(-count // each)]
        sessions = [await stack.enter_async_context(session(server, person)) for person in people]
        made = [
            await stack.enter_async_context(client(server, sessions[number // each], number)) for number in range(count)
        ]
        if warm:
            await asyncio.gather(*(one.ask() for one in made))
        yield made


@asynccontextmanager
async def crowds(servers: Iterable[Server], count: int) -> AsyncGenerator[list[tuple[Server, list[Client]]]]:
    """Each server with ``count`` clients of its own."""
    async with AsyncExitStack() as stack:
        yield [(server, await stack.enter_async_context(clients(server, count))) for server in servers]
