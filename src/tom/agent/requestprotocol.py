"""The server's HTTP protocol: as the gateway's, bounded and with an answer in this agent's words for what is no request."""

from typing import Any

import msgspec

from tom.agent.answering import dialect_at
from tom.agent.lasting import CUT
from tom.errors import TomError
from tom.ids import ulid
from tom.limits.boundedhttp import LARGEST_HEAD, MOST_HEADERS, BoundedHttp
from tom.openapi.wording import answer_bytes, error_body


class RequestProtocol(BoundedHttp):
    """One connection to an agent that is its own door."""

    def on_headers_complete(self) -> None:
        """The head is whole: the request may be answered, or cut off."""
        scope: Any = self.scope
        scope[CUT] = self.transport.abort
        super().on_headers_complete()

    def refusal(self, error: TomError, path: str) -> bytes:
        """In the dialect that the path asks for."""
        request_id = ulid()
        body = msgspec.json.encode(error_body(error, dialect_at(path), request_id))
        headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
        return answer_bytes(error.http_status, headers, body)


class PassedOnProtocol(RequestProtocol):
    """One behind the gateway, which has looked at the head and put some more into it."""

    most_headers = 2 * MOST_HEADERS
    largest_head = 2 * LARGEST_HEAD
