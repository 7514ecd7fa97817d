"""What admins are refused, besides what `tom.limits` says of addresses."""

from tom.errors import CallerError, OperatorError


class AdminDisabled(OperatorError):
    """The admin routes are off: no ADMIN_TOKEN is set."""

    code = "admin_disabled"


class MissingAdminToken(CallerError):
    """The header X-Admin-Token is missing."""

    code = "missing_admin_token"
    http_status = 401


class InvalidAdminToken(CallerError):
    """The admin token is wrong."""

    code = "invalid_admin_token"
    http_status = 401


class InvalidLimit(CallerError):
    """'limit' must be a whole number from 1 to 200."""

    code = "invalid_limit"
    http_status = 400


class InvalidOffset(CallerError):
    """'offset' must be a whole number of at least 0."""

    code = "invalid_offset"
    http_status = 400


class InvalidDate(CallerError):
    """A date is RFC 3339 or YYYY-MM-DD, and the first is not after the last."""

    code = "invalid_date"
    http_status = 400


class InvalidField(CallerError):
    """This setting cannot be changed here."""

    code = "invalid_field"
    http_status = 400


class InvalidValue(CallerError):
    """The value does not fit this setting."""

    code = "invalid_value"


class InvalidAdminBody(CallerError):
    """Request validation failed."""

    code = "validation_error"


class PrivateConversations(CallerError):
    """An admin cannot read the conversations of others."""

    code = "private_conversations"
    http_status = 403


class NotSupervised(CallerError):
    """Nothing would start Tom again."""

    code = "not_supervised"
    http_status = 409
