"""A model call is paid for whatever becomes of it: set aside before, settled after."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tom.conversation.usage import NOTHING, Usage
from tom.errors import ProviderError
from tom.llm.chain import spent_on, used_until
from tom.llm.levels import Candidate
from tom.llm.prices import priced
from tom.llm.provider import ModelRequest, Reply


class Budget(Protocol):
    """Sets aside what a call may cost before it is made, and settles it afterwards; see `limits.py`."""

    async def reserve(self, candidate: Candidate, request: ModelRequest, spent: Usage) -> Any:
        """Set it aside; the reservation. Raises `TokenLimit` or `QuotaExceeded`."""
        ...

    def settle(self, reservation: Any, usage: Usage) -> None:
        """The call has ended and has used ``usage``."""
        ...

    def check_reply(self, size: int) -> None:
        """Whether a reply of so many bytes may go on. Raises `ProviderTooLarge`."""
        ...


type Limits = Callable[[], Budget | None]
"""Makes the budget of one run, or of one question beside a run."""


def unbounded() -> None:
    """No budget."""


async def paid(
    budget: Budget | None,
    candidate: Candidate,
    request: ModelRequest,
    spent: Usage,
    listen: Callable[[], Awaitable[Reply]],
) -> Reply:
    """The reply that ``listen`` brings, with ``budget`` asked before and told after. ``spent`` is what went before."""
    if budget is None:
        return await listen()
    reservation = await budget.reserve(candidate, request, spent)
    used = NOTHING
    try:
        reply = await listen()
    except asyncio.CancelledError:
        used = used_until(candidate, request, "")
        raise
    except ProviderError as error:
        used = spent_on(candidate, error) or NOTHING
        raise
    else:
        used = priced(candidate.price, reply.usage)
        return reply
    finally:
        budget.settle(reservation, used)
