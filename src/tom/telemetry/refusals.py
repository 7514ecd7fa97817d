"""What the log tells of requests that were refused or failed: one event for each kind, never what was sent."""

from tom.errors import TomError
from tom.telemetry import logs

log = logs.get("door")

TOO_MANY = 429
UNFIT = 422
FAILURE = 500


def tell_refusal(error: TomError, *, operation: str) -> None:
    """Log that ``operation`` was refused, by the event that the error's code or status stands for."""
    status = error.http_status
    fields = {"code": error.code, "status_code": status, "operation": operation}
    if status == TOO_MANY:
        log.info("🚦 Too many requests", event="rate_limited", **fields)
    elif error.code == "session_not_found":
        log.info("🔎 There is no such session", event="session_not_found", **fields)
    elif status == UNFIT:
        log.info("✋ A request does not fit", event="validation_error", **fields)
    elif status >= FAILURE:
        log.warning(f"❌ A request failed: {error.code}", event="api_error", **fields)
    else:
        log.debug(f"✋ A request was refused: {error.code}", event="api_error", **fields)
