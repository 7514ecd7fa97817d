"""Objects that are never freed, so that using them writes nothing (PEP 683): forked agents go on sharing their pages.

An agent that calls an imported function would otherwise count a reference in it, and so get a copy of its page. The
interpreter makes its own constants immortal and has no call for anybody else's objects; here their count is set to the
value that says so. It is for a process that will never free what it has imported: the warm parent. Where the trial
object shows that this interpreter counts differently, nothing is changed, and agents take more memory.
"""

import ctypes
import gc
import sys
import time
from typing import Final

_IMMORTAL: Final = 0xFFFF_FFFF
_LEAST_IMMORTAL: Final = 0xC000_0000
_LOOK_AT_CLOCK: Final = 256


class Immortality:
    """Makes everything that exists now immortal, a slice at a time."""

    def __init__(self) -> None:
        """Note where to begin; nothing is changed yet."""
        self._waiting: list[object] = list(gc.get_objects()) if works() else []

    def go_on(self, seconds: float) -> bool:
        """Work for about so long; False when all is done."""
        waiting = self._waiting
        deadline = time.monotonic() + seconds
        count = 0
        while waiting:
            item = waiting.pop()
            if sys.getrefcount(item) < _LEAST_IMMORTAL and item is not waiting:
                _make_immortal(item)
                waiting.extend(gc.get_referents(item))
            count += 1
            if count % _LOOK_AT_CLOCK == 0 and time.monotonic() > deadline:
                return True
        return False


def works() -> bool:
    """Whether this interpreter takes an object for immortal whose count is set: 64 bit, with the global lock."""
    if sys.maxsize < 2**63 - 1 or sys.implementation.name != "cpython" or sys.byteorder != "little":
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    trial: list[object] = [[]]
    _make_immortal(trial)
    before = sys.getrefcount(trial)
    held = [trial] * 1000
    during = sys.getrefcount(trial)
    del held
    return before == during == sys.getrefcount(trial) >= _LEAST_IMMORTAL


def _make_immortal(item: object) -> None:
    ctypes.c_uint32.from_address(id(item)).value = _IMMORTAL
