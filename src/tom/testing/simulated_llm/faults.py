"""The ways in which a provider goes wrong."""

from enum import StrEnum


class Fault(StrEnum):
    """One way of going wrong; the options of `Script.fault` that matter stand behind each."""

    REFUSE = "refuse"
    """Nothing listens, for ``seconds`` or until the endpoint is cleared."""
    RESET = "reset"
    """The connection is reset when it is accepted, or when a kept one asks again."""
    UNAUTHORIZED = "unauthorized"
    """401, quoting the key, the address and the vendor, as some do."""
    NOT_FOUND = "not_found"
    """404: no such model."""
    BAD_REQUEST = "bad_request"
    """400: the request is not understood."""
    RATE_LIMITED = "rate_limited"
    """429 with a Retry-After of ``retry_after``."""
    RATE_LIMITED_SILENTLY = "rate_limited_silently"
    """429 without a Retry-After."""
    SERVER_ERROR = "server_error"
    """500 with a page of HTML."""
    FLAPPING = "flapping"
    """503 for ``times`` requests, then the answer."""
    SILENCE = "silence"
    """The request is read and nothing is ever sent."""
    STALL = "stall"
    """``after`` chunks are sent, then nothing more."""
    DRIP = "drip"
    """The answer, at ``rate`` bytes a second."""
    CUT = "cut"
    """``after`` chunks are sent, then the connection ends."""
    BAD_JSON = "bad_json"
    """The chunk number ``after`` is cut in its middle, the others are fine."""
    BAD_SSE = "bad_sse"
    """A 200 whose body is no event stream at all."""
    ERROR_EVENT = "error_event"
    """After ``after`` chunks an event carries an error instead of a choice."""
    EMPTY = "empty"
    """A well-formed answer without text and without a call."""
    HUGE = "huge"
    """An answer of ``size`` bytes, 100 MB unless told otherwise."""
    DOUBLED = "doubled"
    """Every chunk is sent twice."""

    @property
    def hits_connections(self) -> bool:
        """Whether it happens before there is a request."""
        return self in {Fault.REFUSE, Fault.RESET}
