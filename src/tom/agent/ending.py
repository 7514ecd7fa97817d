"""How a run ends other than well: what is kept, and what is recorded as the reason."""

from dataclasses import replace
from typing import cast

from tom import ids
from tom.agent.feed import Feed
from tom.agent.journal import Journal
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING, Usage
from tom.errors import (
    ProviderBadAnswer,
    ProviderEmpty,
    ProviderError,
    ProviderTooLarge,
    QuotaExceeded,
    TomError,
)
from tom.telemetry import logs

log = logs.get("agent")

SPECIFIC = (ProviderBadAnswer, ProviderEmpty, ProviderTooLarge)
"""Failures of a provider that keep their own code; all others are `provider_error`."""


async def end_cancelled(run: Journal, feed: Feed, reason: str) -> None:
    """Record that the person stopped the run. Text that was shown is kept; a call in flight is unresolved."""
    if run.progress.state.ended:
        return
    left = _left(run, feed, "cancelled")
    usage = run.progress.usage + _usage_of(left)
    ended = happened.run_cancelled(run.conversation_id, run_id=run.run_id, usage=usage, reason=reason)
    await run.record(*run.taking(), *run.in_flight(), *run.not_made(), *left, ended)


async def end_badly(run: Journal, feed: Feed, error: Exception) -> None:
    """Record why the run failed; the person's message and text that was shown stay, and the run can be retried."""
    if run.progress.state.ended:
        return
    cause = first_of(error)
    code, reason = _reason_of(cause)
    left = _left(run, feed, code)
    if run.progress.state is RunState.QUEUED:
        log.debug("The run failed before it began", event="run_failed", code=code)
    usage = run.progress.usage + _usage_of(left)
    failed = happened.run_failed(run.conversation_id, run_id=run.run_id, usage=usage, code=code, reason=reason)
    if isinstance(cause, QuotaExceeded):
        failed = replace(failed, extra={**failed.extra, "limit": cause.details.get("name", "")})
    # In one commit with the end: what was left is never taken for an answer.
    await run.record(*run.taking(), *run.in_flight(), *run.not_made(), *left, failed)
    feed.end(run.run_id)


def first_of(error: Exception) -> Exception:
    """The first error of a group: calls that ran beside each other fail as one."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


def _reason_of(error: Exception) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return "deadline", "The run took longer than allowed."
    if isinstance(error, ProviderError):
        code = error.code if isinstance(error, SPECIFIC) else ProviderError.code
        return code, error.message
    if isinstance(error, TomError):
        return error.code, error.message
    reference = ids.ulid()
    log.error("❌ A defect ended the run", event="internal_error", reference=reference, exception=error)
    return "internal_error", f"Internal error: {reference}"


def _left(run: Journal, feed: Feed, code: str) -> tuple[Event, ...]:
    """What is to be kept of a reply that never came to its end: the text that was shown, and what it cost."""
    live, kept = feed.live(run.run_id), feed.was_cut(run.run_id)
    spent = live.spent if live is not None else NOTHING
    if live is not None and live.text:
        kept = live
    if kept is None:
        if live is None or spent == NOTHING:
            return ()
        failed = happened.model_failed(
            run.conversation_id,
            run_id=run.run_id,
            turn=live.turn,
            attempt=live.attempt,
            code=code,
            retryable=False,
            usage=spent,
        )
        return (failed,)
    return (
        happened.model_replied(
            run.conversation_id,
            kept.text,
            run_id=run.run_id,
            turn=kept.turn,
            attempt=kept.attempt,
            finish_reason="cancelled" if code == "cancelled" else "error",
            model="",
            usage=spent,
            partial=True,
            label=kept.label,
        ),
    )


def _usage_of(left: tuple[Event, ...]) -> Usage:
    return sum((event.usage for event in left if event.usage is not None), NOTHING)
