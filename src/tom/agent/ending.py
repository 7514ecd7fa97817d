"""How a run ends other than well: what is kept, and what is recorded as the reason."""

from typing import cast

from tom import ids
from tom.agent.feed import Feed
from tom.agent.journal import Journal
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.usage import Usage
from tom.errors import ProviderBadAnswer, ProviderEmpty, ProviderError, ProviderTooLarge, TomError
from tom.telemetry import logs

log = logs.get("agent")

SPECIFIC = (ProviderBadAnswer, ProviderEmpty, ProviderTooLarge)
"""Failures of a provider that keep their own code; all others are `provider_error`."""


async def end_cancelled(run: Journal, feed: Feed, reason: str) -> None:
    """Record that the person stopped the run. Text that was shown is kept; a call in flight is unresolved."""
    if run.progress.state.ended:
        return
    partial = _partial_reply(run, feed)
    usage = run.progress.usage + (partial[0].usage or Usage() if partial else Usage())
    ended = happened.run_cancelled(run.conversation_id, run_id=run.run_id, usage=usage, reason=reason)
    await run.record(*run.taking(), *run.in_flight(), *run.not_made(), *partial, ended)


async def end_badly(run: Journal, feed: Feed, error: Exception) -> None:
    """Record why the run failed; the person's message stays and the run can be retried."""
    if run.progress.state.ended:
        return
    code, reason = _reason_of(first_of(error))
    feed.end(run.run_id)
    if run.progress.state is RunState.QUEUED:
        log.debug("The run failed before it began", event="run_failed", code=code)
    await run.fail(code, reason)


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


def _partial_reply(run: Journal, feed: Feed) -> tuple[Event, ...]:
    """The text that was shown of an unfinished reply, as an event."""
    live = feed.live(run.run_id)
    if live is None or not live.text:
        return ()
    return (
        happened.model_replied(
            run.conversation_id,
            live.text,
            run_id=run.run_id,
            turn=live.turn,
            attempt=live.attempt,
            finish_reason="cancelled",
            model="",
            usage=live.used(live.text),
            partial=True,
            label=live.label,
        ),
    )
