"""What is wrong with Tom itself, its set-up, or what lies outside of it."""

from typing import Any

from tom.errors.tree import OperatorError, RemoteError, TomError


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
