"""An echo path on the agent's own WebSocket stack. Run as a program: ``echo.py PORT``."""

import socket
import sys
from types import SimpleNamespace

from tom.agent.serving import make_server
from tom.config.agent import ChatSettings


async def echo(scope, receive, send):
    """Give back every message as it came."""
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        given = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **given})


async def main(port):
    """Serve until the process is ended."""
    listening = socket.create_server(("127.0.0.1", port))
    listening.setblocking(False)
    # Some cases send 16 MiB in one message, which is the product's own bound; the frame's head comes on top of nothing.
    cell = SimpleNamespace(settings=SimpleNamespace(chat=ChatSettings(max_message_size=16_777_216)))
    await make_server(echo, cell).serve(sockets=[listening])


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
