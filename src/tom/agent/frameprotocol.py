"""The server's WebSocket protocol, with one thing put right: a close may come in the middle of a fragmented message.

RFC 6455, 5.4: control frames may stand between the fragments of a message; 5.5.1: a close is answered with its own code, and
what follows it is not looked at. The parser below takes such a close for an error of the peer (Autobahn, case 7.1.5).
"""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol


class _Frames(ServerProtocol):
    """Forgets what was begun when the peer closes."""

    def recv_frame(self, frame: Frame) -> None:
        """Take one frame of the peer."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class FrameProtocol(WebSocketsSansIOProtocol):
    """One connection of the agent's server."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As the server calls it."""
        super().__init__(*arguments, **named)
        plain = self.conn
        self.conn = _Frames(
            extensions=plain.available_extensions, max_size=self.config.ws_max_size, logger=plain.logger
        )
