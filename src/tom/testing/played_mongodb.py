"""A MongoDB server that answers as a test says, over a real socket: for what a real one does rarely.

It knows the wire protocol's messages and the greeting; every other command is answered by the next of ``answers``, or
with success once these are used up.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
_GREETINGS = frozenset({"hello", "ismaster", "isMaster"})
_HELLO: Mapping[str, Any] = {
    "ok": 1.0,
    "ismaster": True,
    "isWritablePrimary": True,
    "helloOk": True,
    "maxBsonObjectSize": 16_777_216,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
}


class Odd(Enum):
    """Ways of not answering."""

    CLOSE = "close"
    SILENT = "silent"


@dataclass(slots=True)
class PlayedMongodb:
    """``told``: the commands that were asked, without greetings; ``connections``: how many there were."""

    port: int = 0
    answers: list[Mapping[str, Any] | Odd] = field(default_factory=list[Mapping[str, Any] | Odd])
    told: list[str] = field(default_factory=list[str])
    connections: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                size, number, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(size - 16)
                command = _command_of(code, body)
                answer = self._answer(command)
                if answer is Odd.CLOSE:
                    return
                if isinstance(answer, Mapping):
                    writer.write(_message(code, number, answer))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, command: Mapping[str, Any]) -> Mapping[str, Any] | Odd:
        name = next(iter(command))
        if name in _GREETINGS:
            return _HELLO
        if name == "endSessions":
            return {"ok": 1.0}
        self.told.append(name)
        return self.answers.pop(0) if self.answers else {"ok": 1.0, "n": 1, "nModified": 0}


@asynccontextmanager
async def played_mongodb() -> AsyncGenerator[PlayedMongodb]:
    """A server on a free port of 127.0.0.1."""
    played = PlayedMongodb()
    server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


def _command_of(code: int, body: bytes) -> Mapping[str, Any]:
    """The command's document; sequences of documents behind it are left out."""
    # Before it stand: flags, a name and two numbers; or flags, and the kind of the first section.
    start = body.index(b"\0", 4) + 9 if code == OP_QUERY else 5
    (size,) = struct.unpack_from("<i", body, start)
    return cast("Mapping[str, Any]", bson.decode(body[start : start + size]))


def _message(code: int, number: int, answer: Mapping[str, Any]) -> bytes:
    document = bson.encode(dict(answer))
    if code == OP_QUERY:
        body, kind = struct.pack("<iqii", 8, 0, 0, 1) + document, OP_REPLY
    else:
        body, kind = struct.pack("<i", 0) + b"\0" + document, OP_MSG
    return struct.pack("<iiii", 16 + len(body), 0, number, kind) + body
