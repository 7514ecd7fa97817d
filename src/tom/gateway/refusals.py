"""What the gateway itself refuses or cannot do, besides `AuthenticationRequired`, `OriginNotAllowed` and `WrongHost`.

`problems` gives each the form of its door.
"""

from tom.errors import CallerError, OperatorError, RemoteError


class LoginRequired(CallerError):
    """This needs a login; a token does not reach this far."""

    code = "scope_missing"
    http_status = 403


class BadRequest(CallerError):
    """The request cannot be read."""

    code = "invalid_json"
    http_status = 400


class BodyTimedOut(CallerError):
    """The request body did not arrive in time."""

    code = "request_timeout"
    http_status = 408


class AgentUnavailable(OperatorError):
    """Backend service unavailable."""

    code = "agent_unavailable"
    http_status = 503
    retryable = True

    def __init__(self, user: str, *, retry_after: float = 5.0, message: str | None = None) -> None:
        """``retry_after``: seconds until another try makes sense."""
        super().__init__(message or f"Backend service unavailable for user {user}")
        self.retry_after = retry_after


class AgentTimedOut(RemoteError):
    """Backend service timed out."""

    code = "agent_timeout"
    http_status = 504

    def __init__(self, user: str) -> None:
        """Name the user whose agent it is."""
        super().__init__(f"Backend service timed out for user {user}")


class AgentBroken(RemoteError):
    """Backend service failed."""

    code = "agent_failed"
    http_status = 502

    def __init__(self, user: str) -> None:
        """Name the user whose agent it is."""
        super().__init__(f"Backend service failed for user {user}")


class StartRefused(OperatorError):
    """The gateway cannot start."""

    code = "start_refused"

    def __init__(self, messages: list[str]) -> None:
        """``messages``: one line each, with their icons, for the person who started it."""
        super().__init__("\n".join(messages))
        self.messages = messages
