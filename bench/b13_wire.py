"""B13: bytes on the wire from Tom to a client, TLS and framing included, against bytes of content."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from clients import clients
from measure import Result, finish, options
from servers import Server, rivals

CHUNKS = 64
PAUSES_MS = (0, 10)
READ_SIZE = 65536


@dataclass(slots=True)
class Meter:
    """Bytes that came from the server."""

    count: int = 0


@asynccontextmanager
async def metered(server: Server) -> AsyncGenerator[tuple[Server, Meter]]:
    """The same server behind a relay that counts."""
    meter = Meter()
    scheme, _, place = server.url.partition("://")
    host, _, port = place.partition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counting: bool) -> None:
        while received := await reader.read(READ_SIZE):
            meter.count += len(received) if counting else 0
            writer.write(received)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(port))
        try:
            await asyncio.gather(copy(reader, inner_writer, counting=False), copy(inner_reader, writer, counting=True))
        except ConnectionError:
            inner_writer.close()

    listener = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with listener:
        yield replace(server, url=f"{scheme}://{host}:{listener.sockets[0].getsockname()[1]}"), meter


async def measure(answers: int) -> Result:
    """Answers as fast as they go, and answers at a model's pace: then each 50 ms are a frame of their own."""
    result = Result(
        "B13", "bytes on the wire for a byte of content", ("server", "pause ms", "wire", "content", "ratio")
    )
    for pause in PAUSES_MS:
        async with rivals(chunks=CHUNKS, pause_ms=pause) as servers:
            for server in servers:
                async with metered(server) as (relayed, meter), clients(relayed, 1) as (one,):
                    before, content = meter.count, 0
                    for _ in range(answers):
                        content += (await one.ask()).characters
                    wire = meter.count - before
                    result.add(server.name, pause, wire, content, wire / content)
                    result.numbers[f"{server.name}_{pause}ms"] = wire / content
        ratio = result.numbers[f"tom_{pause}ms"]
        result.must[f"{ratio:.2f} × with chunks {pause} ms apart (at most 3 ×)"] = ratio <= 3
    return result


if __name__ == "__main__":
    given = options(__doc__, answers=20)
    finish(asyncio.run(measure(given.answers)), plot=given.plot)
