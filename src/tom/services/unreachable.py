"""A service that cannot be reached, and why."""

from typing import cast

from tom.errors import RemoteError


class Unreachable(RemoteError):
    """The service cannot be reached."""

    code = "service_unreachable"


class Forgotten(Unreachable):
    """The service has restarted and no longer knows this connection; the call was not made."""


class Outdated(Unreachable):
    """The service does not take calls by the list of tools that it gave; the call was not made."""


def reason_of(error: BaseException) -> str:
    """One line for people: the first cause inside groups of errors, or its kind when it says nothing."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
