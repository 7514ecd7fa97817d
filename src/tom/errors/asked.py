"""What the caller asked for cannot be done as it was asked, or a limit of the caller's was reached."""

from tom.errors.tree import CallerError, TomError


class InvalidMessage(CallerError):
    """Invalid message format."""

    code = "invalid_message"


class InvalidJson(CallerError):
    """Invalid message format: not a JSON object."""

    code = "invalid_json"
    http_status = 400
    sentence = "Invalid message format: not a JSON object"


class UnknownAction(CallerError):
    """Unknown message format. Expected 'action': 'chat'."""

    code = "unknown_action"
    http_status = 400
    sentence = "Unknown message format. Expected 'action': 'chat'"


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
    sentence = "Authentication required"


class OriginNotAllowed(CallerError):
    """Cross-site request refused."""

    code = "origin_not_allowed"
    http_status = 403
    sentence = "Cross-site request refused"


class WrongHost(CallerError):
    """Unknown host."""

    code = "wrong_host"
    http_status = 421
    sentence = "Unknown host"


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


# --- the chat doors ----------------------------------------------------------------------------------------------


class InvalidToken(CallerError):
    """This credential is not valid."""

    code = "invalid_token"
    http_status = 401


class ConflictingCredentials(CallerError):
    """Two credentials were given, and they are not the same."""

    code = "conflicting_credentials"
    http_status = 401


class ScopeMissing(CallerError):
    """The credential does not reach this far."""

    code = "scope_missing"
    http_status = 403


class RoleNotAllowed(CallerError):
    """This role may not be used."""

    code = "role_not_allowed"
    http_status = 403


class OptionNotAllowed(CallerError):
    """This option may not be used."""

    code = "option_not_allowed"
    http_status = 403


class InvalidMemoryLimit(CallerError):
    """The memory limit is greater than what is allowed."""

    code = "invalid_memory_limit"
    http_status = 400


class RequestIdConflict(CallerError):
    """'request_id' and the header 'Idempotency-Key' differ."""

    code = "request_id_conflict"
    http_status = 400


class SessionElsewhere(CallerError):
    """Another process works on this session at the moment."""

    code = "session_elsewhere"
    http_status = 409
    retryable = True
