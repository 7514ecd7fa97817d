"""What ends with a credential: sockets, streams and answers that are open under a login or a token."""

from collections.abc import Callable
from dataclasses import dataclass, field

type Cut = Callable[[], None]


@dataclass(slots=True, eq=False)
class Holding:
    """Something that is held open and can end. `end` calls everything that is open under it, at once."""

    ended: bool = field(default=False, kw_only=True)
    _cuts: dict[int, Cut] | None = field(default=None, kw_only=True, repr=False)

    def hold(self, cut: Cut) -> Callable[[], None]:
        """Have ``cut`` called when it ends (now, if it has); returns what takes that back."""
        if self.ended:
            cut()
            return _nothing
        cuts = self._cuts = self._cuts or {}
        key = id(cut)
        cuts[key] = cut
        return lambda: cuts.pop(key, None) and None

    def end(self) -> None:
        """Close what is open under it, for good. Idempotent."""
        self.ended = True
        self.cut_off()

    def cut_off(self) -> None:
        """Close what is open under it; it may be used again where somebody still lets it in."""
        cuts, self._cuts = self._cuts or {}, None
        for cut in list(cuts.values()):
            cut()

    @property
    def open_count(self) -> int:
        """How many sockets and streams are open under it."""
        return len(self._cuts or ())


def _nothing() -> None:
    """There is nothing to take back."""
