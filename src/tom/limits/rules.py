"""From settings to rules, and from a wait to the refusal: the same for the gateway and for an agent."""

import math
from typing import Final

from tom.config.agent import RateSettings
from tom.errors import RateLimited
from tom.limits.limiter import Rule

_TENTHS: Final = 10
_DUST: Final = 6
"""Decimals beyond which a wait is rounding, not time."""


def rule_of(settings: RateSettings, *, reads: bool) -> Rule:
    """The rule of what reads, or of everything else that is counted."""
    if reads:
        return Rule(settings.read_rps, settings.read_burst)
    return Rule(settings.rps, settings.burst)


def refusal(wait: float) -> RateLimited:
    """The error for somebody who must wait; ``details.retry_after`` in seconds, rounded up to a tenth."""
    return RateLimited(retry_after=max(1, math.ceil(round(wait * _TENTHS, _DUST))) / _TENTHS)
