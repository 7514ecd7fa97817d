"""The smallest agent: it answers who and what it is. For tests of spawners and of what sits above them.

`application` is its ASGI form for `MemorySpawner`, `serve` its entry for `ProcessSpawner`.

| path        | answer                                                                          |
|-------------|---------------------------------------------------------------------------------|
| ``/``       | its user, pid, the SHA-256 and size of its document, and its walls (see `walls`) |
| ``/exit``   | none: the process ends with status 3                                             |
| ``/stuck``  | as ``/``; from now on SIGTERM does not end it                                    |
| ``/slow``   | as ``/``; from now on the second SIGTERM ends it, with status 4                  |
"""

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import threading
from pathlib import Path
from typing import Any

STATUS_ASKED = 3
STATUS_HURRIED = 4


def application(user: str, document: bytes, inherited: list[int] | None = None) -> Any:
    """The agent of ``user`` that was started with ``document`` and these descriptors."""
    told = {"user": user, "document": hashlib.sha256(document).hexdigest(), "document_size": len(document)}
    told |= {"inherited": inherited or []}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["path"] == "/exit":
            os._exit(STATUS_ASKED)
        if scope["path"] == "/stuck":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        if scope["path"] == "/slow":
            _end_at_second_signal()
        body = json.dumps(told | {"pid": os.getpid(), "walls": walls()}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _end_at_second_signal() -> None:
    asked: list[int] = []

    def signalled() -> None:
        asked.append(1)
        if len(asked) == 2:
            os._exit(STATUS_HURRIED)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signalled)


def walls() -> dict[str, Any]:
    """What holds this process in: read from the kernel, not from what was meant."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {
        "session_leader": os.getsid(0) == os.getpid(),
        "no_new_privileges": status["NoNewPrivs"].strip() == "1",
        "core_size": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "threads": threading.active_count(),
        "parent": os.getppid(),
        "environment": sorted(os.environ),
    }


def open_descriptors() -> list[int]:
    """The numbers of this process's open files, but not of the one that is open to look."""
    found: list[int] = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a list, so that looking is over
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            found.append(int(name))
    return sorted(found)


def serve(listen_fd: int, document_fd: int, user: str) -> int:
    """Serve until SIGTERM; returns 0. The entry of a process."""
    inherited = open_descriptors()
    with os.fdopen(document_fd, "rb") as pipe:
        document = pipe.read()
    listener = socket.socket(fileno=listen_fd)
    return asyncio.run(_serve(application(user, document, inherited), listener))


def serve_nothing(_listen_fd: int, _document_fd: int, _user: str) -> int:
    """Fail at once: an agent whose start breaks."""
    raise RuntimeError("this agent never serves")


async def _serve(app: Any, listener: socket.socket) -> int:
    from tom.spawner.memory import make_server  # noqa: PLC0415 - the warm parent needs none of it

    server = make_server(app)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, server, "should_exit", True)
    await server.serve(sockets=[listener])
    return 0


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
