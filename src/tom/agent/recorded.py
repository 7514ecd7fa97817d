"""The recorded end of a failed run as the error that it was, so that a door can tell it in its own dialect."""

from collections.abc import Iterator, Mapping
from typing import Any

from tom.conversation.event import Event, EventType
from tom.errors import RemoteError, TomError


class DeadlinePassed(TomError):
    """The run took longer than allowed."""

    code = "deadline"
    http_status = 504


class CrashLoop(TomError):
    """This message stopped the agent several times and is not tried again by itself."""

    code = "crash_loop"


class ModelBadCall(RemoteError):
    """The language model could not write a readable tool call."""

    code = "model_bad_call"


class AnswerPending(TomError):
    """The answer is not there yet; the run goes on. Ask again with the same Idempotency-Key, or for a stream."""

    code = "answer_pending"
    http_status = 504


def recorded_failure(end: Event) -> TomError:
    """The error that a `run.failed` tells: its class by its code, with the recorded reason."""
    found = _by_code().get(end.extra["code"], TomError)
    failure = found(end.extra.get("reason") or None)
    failure.add_note(_OF_RUN + end.run_id)
    return failure


SOURCE = "provider"
"""Where a failure of a model call comes from; which provider it was is nobody's business."""


def details_of(end: Event, failure: Event | None, *, cached: bool = False) -> dict[str, Any]:
    """What doors tell beside code and reason of a `run.failed`.

    ``failure`` is the last `model.failed` of the run. ``cached``: the run had failed before it was asked for.
    """
    error = recorded_failure(end)
    details: dict[str, Any] = {}
    if error.http_status in {502, 504}:
        details |= {"source": SOURCE, "retryable": bool(failure.extra["retryable"]) if failure else error.retryable}
    elif error.http_status == 500:
        details["timestamp"] = end.timestamp
    if "limit" in end.extra:
        details["limit"] = end.extra["limit"]
    return details | ({"cached": True} if cached else {})


def status_of(end: Event | None) -> int:
    """The status that an answer has which tells how a run ended; one that goes on is accepted well."""
    return recorded_failure(end).http_status if end is not None and end.type == EventType.RUN_FAILED else 200


def is_recorded(error: TomError) -> bool:
    """Whether an error is the recorded one of a run, which was counted when it failed."""
    return bool(run_of(error))


def run_of(error: TomError) -> str:
    """The run whose recorded error this is, empty for any other."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note.removeprefix(_OF_RUN) for note in notes if note.startswith(_OF_RUN)), "")


_OF_RUN = "recorded of the run "
_known: dict[str, type[TomError]] = {}


def _by_code() -> Mapping[str, type[TomError]]:
    """Every class of the tree by its code, the most general one where several share it."""
    if not _known:
        for one in _tree(TomError):
            _known.setdefault(one.code, one)
    return _known


def _tree(top: type[TomError]) -> Iterator[type[TomError]]:
    level = [top]
    while level:
        yield from level
        level = [below for one in level for below in one.__subclasses__()]
