"""The one tree of errors.

A class says whose fault it is, carries a stable ``code`` and an HTTP hint, and its docstring is the default
message. Each surface (REST, Tom routes, WebSocket, CLI) translates an error once, at its door.
"""

from typing import Any, ClassVar


class TomError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    sentence: ClassVar[str] = ""

    def __init__(self, message: str | None = None, **details: Any) -> None:
        """Keep ``message`` and ``details`` (JSON values shown to the caller).

        By default the message is ``sentence``, where clients know it letter by letter, else the class's docstring.
        """
        self.message = message or type(self).sentence or (type(self).__doc__ or "").strip().splitlines()[0]
        self.details: dict[str, Any] = details
        super().__init__(self.message)


# --- whose fault -------------------------------------------------------------------------------------------------


class CallerError(TomError):
    """The request cannot be accepted."""

    code = "validation_error"
    http_status = 422


class RemoteError(TomError):
    """Something outside Tom failed."""

    code = "remote_error"
    http_status = 502
    retryable = True


class OperatorError(TomError):
    """Tom is not set up correctly."""

    code = "operator_error"
    http_status = 503
