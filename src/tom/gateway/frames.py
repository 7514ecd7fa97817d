"""Where WebSocket frames begin and end in a stream of bytes, without looking into them (RFC 6455, 5.2).

The relay passes bytes on as they come; it needs the boundaries only to put a close frame of its own between two frames
and to see that one side has said goodbye.
"""

import struct
from typing import Final

_CLOSE: Final = 0x8
_RESERVED: Final = 0x70
_LENGTH_16: Final = 126


def close_frame(code: int, reason: str = "") -> bytes:
    """An unmasked close frame, as a server sends it."""
    payload = struct.pack("!H", code) + reason.encode()[:123]
    return bytes((0x88, len(payload))) + payload


class FrameTrack:
    """Follows the frames of one direction. ``closed``: a close frame has begun; ``oversized``: one beyond ``largest``."""

    __slots__ = ("_head", "_largest", "_left", "closed", "oversized")
    _head: bytes

    def __init__(self, largest: int | None = None) -> None:
        """At the beginning of a frame; ``largest`` is in bytes with the frame's head, None: any size."""
        self._largest = largest
        self.oversized = False
        self._left = 0
        self._head = b""
        self.closed = False

    @property
    def at_boundary(self) -> bool:
        """Between two frames."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes) -> None:
        """Take note of the next bytes."""
        position, end = self._left, len(data)
        if position > end:
            self._left = position - end
            return
        if self._head:
            data = self._head + data
            end = len(data)
            self._head = b""
        while position < end:
            size = _frame_size(data, position, end)
            if size == 0:
                self._head = data[position:]
                self._left = 0
                return
            if data[position] & 0x0F == _CLOSE:
                self.closed = True
            # Bytes that are no frame at all (reserved bits set) are the agent's to refuse, by their own code.
            if self._largest is not None and size > self._largest and not data[position] & _RESERVED:
                self.oversized = True
            position += size
        self._left = position - end


def _frame_size(data: bytes, start: int, end: int) -> int:
    """The bytes of the frame that begins at ``start``, or 0 while its length is not known."""
    if end - start < 2:
        return 0
    second = data[start + 1]
    length = second & 0x7F
    head = 6 if second & 0x80 else 2
    if length < _LENGTH_16:
        return head + length
    if length == _LENGTH_16:
        return head + 2 + int.from_bytes(data[start + 2 : start + 4]) if end - start >= 4 else 0
    return head + 8 + int.from_bytes(data[start + 2 : start + 10]) if end - start >= 10 else 0
