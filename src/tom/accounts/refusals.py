"""Why nobody was let in."""

from tom.errors import CallerError, TomError


class InvalidCredentials(CallerError):
    """Invalid credentials."""

    code = "invalid_credentials"
    http_status = 401


class TooManyAttempts(CallerError):
    """Too many failed logins; wait before the next attempt."""

    code = "rate_limited"
    http_status = 429
    retryable = True

    def __init__(self, retry_after: float) -> None:
        """``retry_after``: seconds until a password is looked at again."""
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after


class TooBusy(TomError):
    """Too many logins at the same time; try again in a moment."""

    code = "too_busy"
    http_status = 503
    retryable = True


class InvalidPassword(CallerError):
    """A password is 1 to 1024 bytes of text."""

    code = "invalid_password"
    http_status = 400


class UnknownUser(CallerError):
    """There is no such user."""

    code = "unknown_user"
    http_status = 404


class ManagedByFile(CallerError):
    """The password of this user stands as 'password_hash' in config.yml; change it there."""

    code = "managed_by_file"
    http_status = 409


class TooManyTokens(CallerError):
    """50 tokens reached; revoke one that is not needed any more."""

    code = "too_many_tokens"
    http_status = 409


class TokenNotFound(CallerError):
    """There is no such token."""

    code = "token_not_found"
    http_status = 404


class InvalidWish(CallerError):
    """Such a token cannot be made."""

    code = "invalid_token_request"
    http_status = 400


class TokenInUrl(CallerError):
    """Tokens are not accepted in the URL."""

    code = "token_in_url"
    http_status = 400
    sentence = "Tokens are not accepted in the URL"


class PasswordRequired(CallerError):
    """Password required."""

    code = "password_required"
    http_status = 401
