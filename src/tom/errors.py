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

    def __init__(self, message: str | None = None, **details: Any) -> None:
        """Keep ``message`` (default: the class's docstring) and ``details`` (JSON values shown to the caller)."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
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


# --- the caller's ------------------------------------------------------------------------------------------------


class InvalidMessage(CallerError):
    """Invalid message format."""

    code = "invalid_message"


class InvalidJson(CallerError):
    """Invalid message format: not a JSON object."""

    code = "invalid_json"
    http_status = 400


class UnknownAction(CallerError):
    """Unknown message format. Expected 'action': 'chat'."""

    code = "unknown_action"
    http_status = 400


class TextTooLong(CallerError):
    """The text is too long."""

    code = "text_too_long"


class MetadataTooLarge(CallerError):
    """The metadata is too large."""

    code = "metadata_too_large"


class InvalidConversationId(CallerError):
    """A conversation id is 1 to 128 letters, digits, '.', '_', ':' or '-'."""

    code = "invalid_conversation_id"


class InvalidOption(CallerError):
    """Unknown option."""

    code = "invalid_option"


class ConversationNotFound(CallerError):
    """There is no such conversation."""

    code = "conversation_not_found"
    http_status = 404


class RunNotFound(CallerError):
    """There is no such run."""

    code = "run_not_found"
    http_status = 404


class RunNotRetryable(CallerError):
    """Only a failed or cancelled run can be retried."""

    code = "run_not_retryable"
    http_status = 409


class RequestIdReused(CallerError):
    """This request_id was used for a different request."""

    code = "request_id_reused"
    http_status = 409


class ConversationBusy(CallerError):
    """A run is active in this conversation."""

    code = "conversation_busy"
    http_status = 409


class QueueFull(CallerError):
    """Too many requests are waiting in this conversation."""

    code = "queue_full"
    http_status = 409


class AfterOutOfRange(CallerError):
    """'after' is not a sequence number of this conversation."""

    code = "after_out_of_range"


class ContextTooSmall(CallerError):
    """The message does not fit into the model's context."""

    code = "context_too_small"


class RateLimited(CallerError):
    """Too many requests; wait a moment."""

    code = "rate_limited"
    http_status = 429
    retryable = True


class AuthenticationRequired(CallerError):
    """Authentication required."""

    code = "authentication_required"
    http_status = 401


class OriginNotAllowed(CallerError):
    """Cross-site request refused."""

    code = "origin_not_allowed"
    http_status = 403


class WrongHost(CallerError):
    """Unknown host."""

    code = "wrong_host"
    http_status = 421


class ApprovalNotFound(CallerError):
    """There is no such approval."""

    code = "approval_not_found"
    http_status = 404


class ElicitationNotFound(CallerError):
    """There is no such question."""

    code = "elicitation_not_found"
    http_status = 404


class AlreadyAnswered(CallerError):
    """This was answered already."""

    code = "already_answered"
    http_status = 409


class AskExpired(CallerError):
    """The time to answer this is over."""

    code = "expired"
    http_status = 410


class ArgumentsChanged(CallerError):
    """These are not the arguments that were asked about; look at the ask again."""

    code = "arguments_changed"
    http_status = 409


class InvalidAnswer(CallerError):
    """The answer does not fit what was asked."""

    code = "invalid_answer"


class PromptNotFound(CallerError):
    """There is no such prompt."""

    code = "prompt_not_found"
    http_status = 404


class ResourceNotFound(CallerError):
    """There is no such resource."""

    code = "resource_not_found"
    http_status = 404


class InvalidArguments(CallerError):
    """The arguments do not fit the prompt."""

    code = "invalid_arguments"


class ToolNotFound(CallerError):
    """There is no such tool."""

    code = "tool_not_found"
    http_status = 400


class ToolAmbiguous(CallerError):
    """Several services have a tool of this name; name the service too."""

    code = "tool_ambiguous"
    http_status = 400


class ModelNotAllowed(CallerError):
    """This model cannot be chosen."""

    code = "model_not_allowed"
    http_status = 400


class OptionConflict(CallerError):
    """These options exclude each other."""

    code = "option_conflict"
    http_status = 400


class AttachmentTooLarge(CallerError):
    """The attachment is too large."""

    code = "attachment_too_large"
    http_status = 413


class InvalidAttachment(CallerError):
    """The attachment cannot be read."""

    code = "invalid_attachment"


class ModelHasNoVision(CallerError):
    """The model cannot see pictures."""

    code = "model_has_no_vision"


class QuotaExceeded(CallerError):
    """Your daily limit is reached."""

    code = "quota_exceeded"
    http_status = 403


# --- limits of a run ---------------------------------------------------------------------------------------------


class LimitReached(TomError):
    """The run has reached a limit."""

    code = "limit_reached"
    http_status = 422


class TokenLimit(LimitReached):
    """The run has used as many tokens as one run may."""

    code = "token_limit"


class ToolLimit(LimitReached):
    """The run has called as many tools as one run may."""

    code = "tool_limit"


class TooManyAsks(LimitReached):
    """The run has asked for more approvals than one run may."""

    code = "too_many_asks"


# --- Tom's own, temporary ----------------------------------------------------------------------------------------


class ShuttingDown(TomError):
    """Tom is restarting; send the message again in a moment."""

    code = "shutting_down"
    http_status = 503
    retryable = True


class StorageFull(TomError):
    """The message was not stored: the disk is full."""

    code = "storage_full"
    http_status = 507
    retryable = True


class StorageUnavailable(TomError):
    """The message was not stored: the history cannot be written."""

    code = "storage_unavailable"
    http_status = 503
    retryable = True


class Superseded(TomError):
    """Another process has taken over this run."""

    code = "superseded"


# --- the operator's ----------------------------------------------------------------------------------------------


class StoreInUse(OperatorError):
    """The database file is in use by another process."""

    code = "store_in_use"


class StoreTooNew(OperatorError):
    """The database file was written by a newer version of Tom."""

    code = "store_too_new"


class AgentFailed(OperatorError):
    """The agent could not be started."""

    code = "agent_unavailable"


class ServiceUnavailable(RemoteError):
    """The service cannot be reached."""

    code = "service_unavailable"
    http_status = 503


# --- the provider's ----------------------------------------------------------------------------------------------


class ProviderError(RemoteError):
    """The language model is unavailable."""

    code = "provider_error"

    def __init__(self, message: str | None = None, *, retryable: bool | None = None, **details: Any) -> None:
        """``retryable`` overrides the class's own answer to "may the same call succeed in a moment?"."""
        super().__init__(message, **details)
        self.may_retry = type(self).retryable if retryable is None else retryable
        self.tokens: tuple[int, int] | None = None
        """What the failed attempt used, as far as the provider said: prompt and completion."""


class ProviderUnreachable(ProviderError):
    """The language model cannot be reached."""

    code = "provider_unreachable"


class ProviderTimeout(ProviderError):
    """The language model did not answer in time."""

    code = "provider_timeout"
    http_status = 504


class ProviderRateLimited(ProviderError):
    """The language model is limiting requests."""

    code = "provider_rate_limited"


class ProviderRefused(ProviderError):
    """The language model's provider refused the key, the account or the model's name."""

    code = "provider_refused"
    retryable = False


class ProviderBadRequest(ProviderError):
    """The language model's provider rejected the request."""

    code = "provider_bad_request"
    retryable = False


class ProviderBadAnswer(ProviderError):
    """The language model's answer could not be read."""

    code = "provider_bad_answer"


class ProviderEmpty(ProviderError):
    """The language model gave an empty answer."""

    code = "provider_empty"


class ProviderDeclined(ProviderError):
    """The language model declined to answer."""

    code = "provider_declined"


class ProviderTooLarge(ProviderError):
    """The language model's answer is too large."""

    code = "provider_too_large"
    retryable = False


class ProviderUnconfigured(ProviderError):
    """No chat providers are configured. Set OPENROUTER_KEY or another provider credential before sending chat requests."""

    code = "provider_error"
    retryable = False
