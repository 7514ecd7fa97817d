"""Which language models are not worth asking just now.

Five failures within a minute open an LLM's breaker for half a minute; then one run tries it again. A key, an account
or a model's name that is refused is one failure like the others, and said louder.
"""

from collections import deque
from dataclasses import dataclass, field

from tom.clock import Clock
from tom.errors import ProviderBadRequest, ProviderError, ProviderRefused, ProviderUnconfigured
from tom.telemetry import logs

FAILURES = 5
WITHIN = 60.0
OPEN = 30.0

log = logs.get("llm")


@dataclass(slots=True)
class _Record:
    """What is known of one LLM. Times are of the monotonic clock; ``until``: it is left alone up to then."""

    failures: deque[float] = field(default_factory=deque[float])
    until: float = 0.0
    open: bool = False


class Breaker:
    """Remembers failures by LLM entry. Not shared between agents: each person's agent has its own."""

    def __init__(self, clock: Clock) -> None:
        """Measure with ``clock``."""
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def closed(self, llm: str) -> bool:
        """Whether ``llm`` may be asked in its turn."""
        record = self._records.get(llm)
        return record is None or not record.open or self._clock.monotonic() >= record.until

    def try_again(self, llm: str) -> None:
        """``llm`` is about to be asked: if it was open until now, nobody else tries it before this one has ended."""
        record = self._records.get(llm)
        if record is not None and record.open and self._clock.monotonic() >= record.until:
            record.until = self._clock.monotonic() + OPEN

    def failed(self, llm: str, error: ProviderError) -> None:
        """Note a failed attempt. A request that the provider finds faulty says nothing about the provider."""
        if isinstance(error, ProviderBadRequest | ProviderUnconfigured) or error.details.get("spaced"):
            return
        now = self._clock.monotonic()
        record = self._records.setdefault(llm, _Record())
        if isinstance(error, ProviderRefused):
            log.error(f"❌ LLM {llm!r} refuses: {error.message}", event="llm_unhealthy", llm=llm, code=error.code)
        record.failures.append(now)
        while record.failures and record.failures[0] < now - WITHIN:
            record.failures.popleft()
        if record.open or len(record.failures) >= FAILURES:
            if not record.open:
                log.warning(f"⚠️ LLM {llm!r} is left out for {OPEN:g} s", event="llm_breaker_open", llm=llm)
            record.open, record.until = True, now + OPEN

    def succeeded(self, llm: str) -> None:
        """Note an attempt that ended well."""
        record = self._records.get(llm)
        if record is not None and record.open:
            del self._records[llm]
            log.info(f"✅ LLM {llm!r} answers again", event="llm_breaker_closed", llm=llm)
