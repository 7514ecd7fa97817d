"""The server's WebSocket protocol, with three things put right.

A close may come in the middle of a fragmented message: RFC 6455, 5.4: control frames may stand between the fragments of
a message; 5.5.1: a close is answered with its own code, and what follows it is not looked at. The parser below takes such
a close for an error of the peer (Autobahn, case 7.1.5).

An upgrade that is no handshake is refused in the words of the chat door.

What a client does is no error of ours: an upgrade that is refused is answered, and text that is none ends its connection
(1007); neither is told to the log as a failure, with a traceback.
"""

from typing import Any

import msgspec
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from tom.errors import NoHandshake
from tom.ids import ulid
from tom.openapi.wording import chat_body
from tom.telemetry import logs

log = logs.get("agent")


_SWITCHED = 101


class _Frames(ServerProtocol):
    """Forgets what was begun when the peer closes, and says in Tom's words what is no handshake."""

    def accept(self, request: Request) -> Response:
        """The answer to a handshake."""
        answer = super().accept(request)
        return answer if answer.status_code == _SWITCHED else _refusal()

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

    async def send(self, message: ASGISendEvent) -> None:
        """As the application calls it; a whole answer to an upgrade is the end of the handshake."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        """Hand on the message that is whole now."""
        if self.curr_msg_data_type == "text" and not _is_text(self.frames):
            self.frames = []
            log.info("✋ A client sent text that is no UTF-8", event="invalid_frame")
            self.conn.send_close(1007)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()


def _refusal() -> Response:
    error, request_id = NoHandshake(), ulid()
    body = msgspec.json.encode(chat_body(error, request_id))
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    headers["X-Request-ID"] = request_id
    headers["Connection"] = "close"
    return Response(error.http_status, "Bad Request", headers, body)


def _is_text(frames: list[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
