"""What a model call costs."""

from collections.abc import Iterable
from dataclasses import replace

from tom.config.agent import LlmEntry, Price
from tom.conversation.usage import Usage


def cost_of(price: Price | None, usage: Usage) -> int:
    """Millionths of the price table's currency; 0 where no price is known.

    A price is per million tokens: that many tokens at that price are as many millionths.
    """
    if price is None:
        return 0
    return round(usage.prompt_tokens * price.input + usage.completion_tokens * price.output)


def priced(price: Price | None, usage: Usage) -> Usage:
    """The same usage with its cost."""
    return replace(usage, cost=cost_of(price, usage)) if price is not None else usage


def price_at(entry: LlmEntry, level: int) -> Price | None:
    """The price of the entry's model of ``level``; None when it is not known."""
    return entry.price[level] if len(entry.price) == 3 else None


def dearest(entries: Iterable[LlmEntry]) -> Price | None:
    """The dearest of all known prices, input and output each: what a model without one counts at. None: none is known."""
    prices = [price for entry in entries for price in entry.price]
    if not prices:
        return None
    return Price(input=max(price.input for price in prices), output=max(price.output for price in prices))
