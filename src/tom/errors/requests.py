"""Requests that no door takes: by their path, their method, their body, or because they are none."""

from collections.abc import Iterable

from tom.errors.tree import CallerError


class NotFoundHere(CallerError):
    """Not found."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(CallerError):
    """Method not allowed."""

    code = "method_not_allowed"
    http_status = 405

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """``allowed``: the methods that there are, told in the header ``Allow``."""
        super().__init__()
        self.allowed = tuple(sorted(allowed))


class UpgradeRequired(CallerError):
    """This path is a WebSocket."""

    code = "upgrade_required"
    http_status = 426


class UnsupportedMediaType(CallerError):
    """Content-Type must be application/json."""

    code = "unsupported_media_type"
    http_status = 415


class PayloadTooLarge(CallerError):
    """The request body is too large."""

    code = "payload_too_large"
    http_status = 413

    def __init__(self, *, limit: int) -> None:
        """``limit``: how many bytes it may have."""
        super().__init__(limit=limit)


class Unreadable(CallerError):
    """The request cannot be read."""

    code = "invalid_request"
    http_status = 400


class NoHandshake(Unreadable):
    """The upgrade is no WebSocket handshake."""


class TargetTooLong(CallerError):
    """The request target is too long."""

    code = "target_too_long"
    http_status = 414


class HeadersTooLarge(CallerError):
    """The request headers are too large."""

    code = "headers_too_large"
    http_status = 431
