"""A model call is paid for whatever becomes of it: set aside before, settled after."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
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

    def settle(self, reservation: Any, usage: Usage | None) -> Usage:
        """The call has ended and has used ``usage``; None: nobody knows, so all that was set aside. Returns it."""
        ...

    async def affordable(self, level: int, llm: str, prompt: int) -> int:
        """The highest level up to ``level`` whose model the rest of the day pays for; see `limits.py`."""
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
    written: Callable[[], str],
    *,
    all_seen: bool = True,
    lost: Callable[[Usage], None] = lambda usage: None,  # noqa: ARG005
) -> Reply:
    """The reply that ``listen`` brings, its usage as it was settled. ``spent`` is what went before.

    ``written`` tells what the model has written so far; where that is not ``all_seen``, a call that is given up counts
    as all that was set aside. ``lost`` is told what a call that brought no reply has used, so that the ledger can say
    the same as the budget.
    """
    reservation = None if budget is None else await budget.reserve(candidate, request, spent)

    def settled(used: Usage | None) -> Usage:
        if budget is not None:
            return budget.settle(reservation, used)
        return used_until(candidate, request, written()) if used is None else used

    try:
        reply = await listen()
    except ProviderError as error:
        lost(settled(spent_on(candidate, request, error, written()) or NOTHING))
        raise
    except BaseException:
        lost(settled(used_until(candidate, request, written()) if all_seen else None))
        raise
    return replace(reply, usage=settled(priced(candidate.price, reply.usage)))
