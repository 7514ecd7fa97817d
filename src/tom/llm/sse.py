"""Server-sent events, from bytes as they arrive to the payloads of whole events.

Only what a chat completion needs: `data` lines. Other fields and comments (``: ping``) are passed over. Lines may end
with LF, CR LF or CR, and the bytes may be cut anywhere.
"""

from tom.errors import ProviderTooLarge


class EventParser:
    """Collects bytes and gives the payload of each event that is complete."""

    __slots__ = ("_lines", "_parts", "_room", "_size")

    def __init__(self, limit: int) -> None:
        """``limit`` bounds one event, in bytes."""
        self._room = limit
        self._size = 0
        self._parts: list[bytes] = []
        self._lines: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; returns the payloads that they complete. Raises `ProviderTooLarge`."""
        head, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        text = b"".join((*self._parts, head)) if self._parts else head
        self._parts.clear()
        payloads: list[bytes] = []
        for line in text.split(b"\n"):
            self._take(line, payloads)
        self._size = sum(map(len, self._lines))
        self._keep(rest)
        return payloads

    def finish(self) -> list[bytes]:
        """The payloads of what was left without a final blank line."""
        payloads: list[bytes] = []
        self._take(b"".join(self._parts), payloads)
        self._parts.clear()
        self._close(payloads)
        return payloads

    def _keep(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._size += len(part)
        if self._size > self._room:
            raise ProviderTooLarge

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        line = line.removesuffix(b"\r")
        if line.startswith(b"data:"):
            if b"\r" in line:
                self._take_each(line, payloads)
                return
            self._lines.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            self._close(payloads)
        elif b"\r" in line or line.startswith(b"\xef\xbb\xbf"):
            self._take_each(line.removeprefix(b"\xef\xbb\xbf"), payloads)

    def _take_each(self, line: bytes, payloads: list[bytes]) -> None:
        """Take lines that end with a lone CR."""
        for piece in line.split(b"\r"):
            self._take(piece, payloads)

    def _close(self, payloads: list[bytes]) -> None:
        """End an event. Some servers leave out the blank line: then each line is a payload of its own."""
        lines = self._lines
        if len(lines) == 1:
            payloads.append(lines[0])
        elif lines:
            separate = all(line.startswith((b"{", b"[DONE]")) for line in lines)
            payloads.extend(lines if separate else [b"\n".join(lines)])
        if lines:
            self._lines = []


class Twins:
    """Drops the second of each pair in a stream that a faulty relay sends with every event twice.

    Equal neighbours are legitimate ("ha", "ha"), so a copy is only dropped in a stream that came in pairs from its
    first event on, and whose first event carried nothing. ``size`` is how much of the reply has been gathered.
    """

    __slots__ = ("_before", "_doubled", "_dropped", "_first", "broken")

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._before = 0
        self._doubled: bool | None = None
        self._dropped = False
        self.broken = False

    def is_copy(self, payload: bytes, size: int) -> bool:
        """Whether ``payload`` repeats the event before it. Sets ``broken`` when pairs end after text was dropped."""
        if self._doubled is False:
            return False
        if self._first is None:
            self._first, self._before = payload, size
            return False
        if payload != self._first or (self._doubled is None and size > 0):
            self._doubled = False
            self.broken = self._dropped
            return False
        self._doubled = True
        self._dropped = self._dropped or size > self._before
        self._first = None
        return True
