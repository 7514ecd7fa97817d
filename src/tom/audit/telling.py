"""The record as the command line asks for it over a control socket."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from tom.audit.chain import MOST_ROWS, Chain
from tom.errors import NotFoundHere


async def told_record(chain: Chain, rest: list[str], query: Callable[[str], str | None]) -> Mapping[str, Any]:
    """``GET /audit`` (``after``, ``limit``; without ``after`` the newest) and ``GET /audit/verify``. `NotFoundHere` for another."""
    if rest == ["verify"]:
        return asdict(await chain.verify())
    if rest:
        raise NotFoundHere
    after, limit = query("after"), _number(query("limit"), 100)
    rows = await (chain.newest(limit) if after is None else chain.rows(_number(after, 0), limit))
    return {"entries": [row.told() for row in rows]}


def _number(text: str | None, default: int) -> int:
    return min(int(text), MOST_ROWS**3) if text and text.isascii() and text.isdigit() else default
