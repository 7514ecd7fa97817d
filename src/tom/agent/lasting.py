"""How long something is worked on: to its end though nobody waits any more, or until the client goes away."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from starlette.requests import Request

CUT = "tom.cut"
"""Under this name a request's scope has what ends its connection at once, with whatever a client has not taken."""


async def to_the_end[T](work: Coroutine[Any, Any, T]) -> T:
    """Wait for ``work``, also when its waiter is cancelled."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


async def until_left[T](request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` returns, or None as soon as the client goes away; then ``work`` is cancelled."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(left(request.receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait([working, leaving])


async def left(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
