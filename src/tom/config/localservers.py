"""Model servers on this machine: who answers ``GET /v1/models`` on the usual loopback ports.

Nothing but that request is sent, to all ports at once, with 300 ms for all of them; redirects are not followed.
"""

import http.client
import json
import queue
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

USUAL_PORTS: Mapping[int, str] = {
    11434: "Ollama",
    1234: "LM Studio",
    8080: "llama.cpp",
    8000: "vLLM",
    5000: "text-generation-webui",
    4000: "LiteLLM",
    1337: "Jan",
}
TIMEOUT = 0.3
_LIMIT = 1_048_576
_OWNERS: Mapping[str, str] = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "Ollama"}


@dataclass(frozen=True, slots=True)
class ModelServer:
    """What answers at ``host:port``; without ``models`` it is no model server."""

    host: str
    port: int
    name: str = ""
    models: tuple[str, ...] = ()

    @property
    def base_url(self) -> str:
        """The base URL to enter in config.yml."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"


def find_servers(
    ports: Iterable[int] = tuple(USUAL_PORTS),
    *,
    own: Iterable[int] = (),
    hosts: Iterable[str] | None = None,
    timeout: float = TIMEOUT,
) -> list[ModelServer]:
    """Everything that answers, in the order of ``ports``; those of Tom itself (``own``) are not asked."""
    skipped = set(own)
    asked = [(host, port) for host in (hosts or own_hosts()) for port in ports if port not in skipped]
    answers: queue.Queue[tuple[tuple[str, int], ModelServer | None]] = queue.Queue()

    def put(host: str, port: int) -> None:
        answers.put(((host, port), _ask(host, port, timeout)))

    for host, port in asked:
        threading.Thread(target=put, args=(host, port), daemon=True).start()
    deadline = time.monotonic() + timeout
    found: dict[tuple[str, int], ModelServer] = {}
    for _ in asked:
        try:
            place, server = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if server is not None:
            found[place] = server
    return [found[place] for place in asked if place in found]


def own_hosts() -> tuple[str, ...]:
    """This machine, and in a container the machine that runs it."""
    if not any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return ("127.0.0.1",)
    gateway = _gateway()
    return ("127.0.0.1", gateway) if gateway else ("127.0.0.1",)


def _gateway(table: Path = Path("/proc/net/route")) -> str:
    """The address of the default route; empty without one."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":
            return socket.inet_ntoa(int(fields[2], 16).to_bytes(4, "little"))
    return ""


def _ask(host: str, port: int, timeout: float) -> ModelServer | None:
    """Who answers at a port; None when nobody does."""
    line = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        line.request("GET", "/v1/models", headers={"Accept": "application/json", "User-Agent": "tom"})
        answer = line.getresponse()
        body = answer.read(_LIMIT)
    except http.client.HTTPException:
        return ModelServer(host, port)
    except OSError:
        return None
    finally:
        line.close()
    models = _listed(body) if answer.status == 200 else None
    if not models:
        return ModelServer(host, port)
    return ModelServer(host, port, _name(port, body), models)


def _listed(body: bytes) -> tuple[str, ...] | None:
    try:
        listed: Any = json.loads(body)
    except ValueError:
        return None
    entries: Any = cast("dict[str, Any]", listed).get("data") if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return None
    names = [cast("dict[str, Any]", entry).get("id") for entry in cast("list[Any]", entries) if isinstance(entry, dict)]
    return tuple(name for name in names if isinstance(name, str) and name.isprintable())


def _name(port: int, body: bytes) -> str:
    """What the server calls itself, else what usually listens there."""
    text = body.lower()
    for owner, name in _OWNERS.items():
        if b'"owned_by":"%b"' % owner.encode() in text.replace(b" ", b""):
            return name
    return USUAL_PORTS.get(port, "A model server")
