"""Ask a running gateway over its control socket."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tom.gateway.agentlink import Header, exchange

_SECONDS: Final = 35.0
_LARGEST: Final = 64 * 1024 * 1024


async def ask_gateway(
    data: Path, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = _SECONDS
) -> tuple[int, dict[str, Any]]:
    """One request to the gateway of a data directory (see `control`); returns status and body.

    ``seconds``: how long it may be silent.

    Raises `NotReachable` when none is running, another `LinkError` when it fails.
    """
    content = msgspec.json.encode(body) if body is not None else b""
    headers: list[Header] = [(b"content-type", b"application/json"), (b"connection", b"close")]
    link = await exchange(str(data / "gateway" / "control.sock"), method, path.encode("ascii"), headers, content)
    with contextlib.closing(link):
        await link.head(seconds)
        return link.status, msgspec.json.decode(await link.body(seconds, _LARGEST), type=dict[str, Any])
