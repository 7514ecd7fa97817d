"""What a run and a person's day may use: set aside before each model call, settled after it.

Reservations are kept in memory and made without yielding to the event loop between looking and taking, so that runs
at work beside each other cannot overspend together. What was used for good is the store's ledger.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tom.agent.counting import Factors
from tom.agent.prompt import tools_tokens
from tom.clock import Clock, timestamp
from tom.config.agent import AgentSettings, Price
from tom.conversation.usage import MICRO, NOTHING, Usage
from tom.errors import ProviderTooLarge, QuotaExceeded, TokenLimit, ToolLimit
from tom.llm.counting import messages_tokens
from tom.llm.levels import Candidate
from tom.llm.prices import cost_of, dearest, price_at
from tom.llm.provider import ModelRequest
from tom.store.eventstore import Ledger

PRESUMED_REPLY = 4096
"""Tokens set aside for a reply whose length nobody has bounded."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call may use at most, on the day it was made; ``price`` is what it is counted at."""

    day: str
    usage: Usage
    price: Price | None
    model: str


class Day:
    """What one person has used today, and what is set aside for calls under way. One for each agent."""

    def __init__(self, ledger: Ledger, settings: AgentSettings, clock: Clock) -> None:
        """Read from ``ledger`` what was used before this agent began."""
        self._ledger = ledger
        self._limits = settings.limits
        self._clock = clock
        self._loading = asyncio.Lock()
        self._day = ""
        self._used = NOTHING
        self._reserved: dict[int, Reservation] = {}

    async def today(self) -> str:
        """The day (UTC); what was used on it is known afterwards."""
        async with self._loading:
            day = self._clock.now().astimezone(UTC).date().isoformat()
            if day != self._day:
                spent = await self._ledger.spent(since=day, until=day)
                self._used = spent[0].usage if spent else NOTHING
                self._day = day
            return self._day

    @property
    def used(self) -> Usage:
        """Used today for good."""
        return self._used

    @property
    def taken(self) -> Usage:
        """Used today, and set aside."""
        return sum((reservation.usage for reservation in self._reserved.values()), self._used)

    def take(self, reservation: Reservation) -> None:
        """Set it aside. Raises `QuotaExceeded`, saying which limit, what was used of it and when it begins anew."""
        taken = self.taken + reservation.usage
        most = self._limits.cost_per_day * MICRO
        if taken.cost > most:
            raise self._exceeded("user.cost_per_day", self._limits.cost_per_day, self._used.cost / MICRO)
        if taken.total_tokens > self._limits.tokens_per_day:
            raise self._exceeded("user.tokens_per_day", self._limits.tokens_per_day, self._used.total_tokens)
        self._reserved[id(reservation)] = reservation

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """It was ``usage`` in the end."""
        if self._reserved.pop(id(reservation), None) is not None and reservation.day == self._day:
            self._used += usage

    def _exceeded(self, name: str, limit: float, used: float) -> QuotaExceeded:
        tomorrow = datetime.fromisoformat(self._day).replace(tzinfo=UTC) + timedelta(days=1)
        return QuotaExceeded(name=name, limit=limit, used=used, resets_at=timestamp(tomorrow))


class RunLimits:
    """What one run may use. One for each run, and for each question beside one."""

    def __init__(self, settings: AgentSettings, day: Day, factors: Factors | None = None) -> None:
        """Draw on ``day``; ``factors`` say how far off the estimate is for a model, and learn from replies."""
        self._limits = settings.limits
        self._llms = settings.llms
        self._day = day
        self._factors = factors or Factors()
        self._dearest = dearest(settings.llms.values())
        self._reserved: dict[int, Reservation] = {}

    async def reserve(self, candidate: Candidate, request: ModelRequest, spent: Usage) -> Reservation:
        """Set aside what the call may use at most, after the run has ``spent`` so far.

        Raises `TokenLimit`, or `QuotaExceeded` where the run or the day has no money or tokens left for it.
        """
        counted = messages_tokens(request.messages) + tools_tokens(request.tools)
        prompt = round(counted * self._factors.of(candidate.model))
        wanted: int = request.options.get("max_tokens") or candidate.max_tokens or PRESUMED_REPLY
        if spent.prompt_tokens + prompt > self._limits.tokens_in or spent.completion_tokens >= self._limits.tokens_out:
            raise TokenLimit
        wanted = min(wanted, self._limits.tokens_out - spent.completion_tokens)
        price = candidate.price or (self._dearest if candidate.llm in self._llms else None)
        usage = Usage(prompt, wanted, estimated=True)
        usage = replace(usage, cost=cost_of(price, usage))
        day = await self._day.today()
        self._check_run(spent, usage)
        reservation = Reservation(day, usage, price, candidate.model)
        self._day.take(reservation)
        self._reserved[id(reservation)] = reservation
        return reservation

    def settle(self, reservation: Reservation, usage: Usage | None) -> Usage:
        """The call has ended and has used ``usage``; None: nobody knows, so all that was set aside.

        Returns what it is counted as: one without a known price counts at the dearest.
        """
        self._reserved.pop(id(reservation), None)
        usage = reservation.usage if usage is None else usage
        if not usage.cost:
            usage = replace(usage, cost=cost_of(reservation.price, usage))
        self._day.settle(reservation, usage)
        if not usage.estimated and usage.prompt_tokens:
            self._factors.learn(reservation.model, reservation.usage.prompt_tokens, usage.prompt_tokens)
        return usage

    async def affordable(self, level: int, llm: str, prompt: int) -> int:
        """The highest level up to ``level`` at which ``llm`` may be asked once more today with ``prompt`` tokens.

        0 where no level fits: a prompt may turn out shorter than it may be, and the call is refused if it does not.
        """
        entry = self._llms.get(llm)
        if entry is None or not entry.price:
            return level
        await self._day.today()
        left = self._limits.cost_per_day * MICRO - self._day.taken.cost
        usage = Usage(prompt, entry.max_tokens or PRESUMED_REPLY, estimated=True)
        fitting = (lower for lower in range(level, -1, -1) if cost_of(price_at(entry, lower), usage) <= left)
        return next(fitting, 0)

    def check_calls(self, made: int) -> None:
        """Whether one more tool may be called after ``made``. Raises `ToolLimit`."""
        if made >= self._limits.tool_calls:
            raise ToolLimit

    def check_reply(self, size: int) -> None:
        """Whether a reply of so many bytes may go on. Raises `ProviderTooLarge`."""
        if size > self._limits.reply_bytes:
            raise ProviderTooLarge

    def _check_run(self, spent: Usage, usage: Usage) -> None:
        under_way = sum(reservation.usage.cost for reservation in self._reserved.values())
        if spent.cost + under_way + usage.cost > self._limits.cost_per_run * MICRO:
            message = f"This message would cost more than one may ({self._limits.cost_per_run:.2f})."
            most = self._limits.cost_per_run
            raise QuotaExceeded(message, name="run.cost", limit=most, used=spent.cost / MICRO, resets_at=None)
