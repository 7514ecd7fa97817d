"""What some providers want back with their own tool calls: signatures, thinking.

Kept in memory by the id of a reply's first call. After a restart it is gone, and each adapter has a way of doing
without; nobody else's model ever gets it, since an adapter only knows its own.
"""

from collections import OrderedDict
from typing import Any

KEPT = 512
"""Replies whose echo is kept."""


class Echoes:
    """The newest echoes, by model and call."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def keep(self, model: str, call_id: str, echo: Any) -> None:
        """Remember ``echo`` for the reply of ``model`` whose first call is ``call_id``."""
        self._kept[model, call_id] = echo
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def of(self, model: str, call_id: str) -> Any:
        """The echo; None when it is not known."""
        return self._kept.get((model, call_id))
