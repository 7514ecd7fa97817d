"""Pictures among what a service returns: which may be shown to a model, and how much of them."""

import base64
import binascii

from tom.conversation.part import Image

SHOWN = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""Media types that vision models take, and how such files begin."""

MOST = 8
LARGEST = 5 * 1024 * 1024
LARGEST_TOGETHER = 10 * 1024 * 1024


class PictureFrame:
    """Collects the pictures of one result, within bounds. ``images``: those it took."""

    def __init__(self) -> None:
        self.images: tuple[Image, ...] = ()
        self._left = LARGEST_TOGETHER

    def take(self, media_type: str, text: str) -> bool:
        """Take a picture given as base64; False when it is none, is of another kind than it says, or too much."""
        kind = media_type.partition(";")[0].strip().lower()
        beginnings = SHOWN.get(kind)
        most = min(LARGEST, self._left)
        if beginnings is None or len(self.images) >= MOST or not text or len(text) > most * 4 // 3 + 4:
            return False
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(data) > most or not data.startswith(beginnings):
            return False
        self._left -= len(data)
        self.images = (*self.images, Image(kind, data))
        return True
