"""Tokens used. Adding is associative and `NOTHING` is neutral, so a run's usage is the sum over its turns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls; ``estimated`` when Tom counted because a provider did not say.

    ``cost`` is in millionths of the price table's currency; 0 where no price is known.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Self) -> "Usage":
        """The sum; estimated as soon as one side is."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
            self.cost + other.cost,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Usage":
        """The usage that `as_json` made ``value`` of. Raises KeyError when it did not."""
        cost = round(value.get("cost", 0) * MICRO)
        return cls(value["prompt_tokens"], value["completion_tokens"], value["estimated"], cost)

    def as_json(self) -> dict[str, int | float | bool]:
        """The usage object of the doors: four keys, and ``cost`` in the currency where there is one."""
        counts: dict[str, int | float | bool] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "estimated": self.estimated,
        }
        return counts | {"cost": self.cost / MICRO} if self.cost else counts


MICRO = 1_000_000
"""Parts of the currency's unit in which costs are counted, so that adding is exact."""

NOTHING = Usage()


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of ``text``: code points ÷ 3, or ÷ 2 for non-Latin scripts, at least 1 for any text.

    Used where no tokenizer table is installed. Above U+024F (the end of Latin Extended-B) a code point counts as
    non-Latin.
    """
    if not text:
        return 0
    wide = 0 if text.isascii() else sum(1 for character in text if character > "\u024f")
    return max(1, (len(text) - wide) // 3 + wide // 2)
