"""The loop: do what the run's events say is next, record it, until nothing is left to do.

There is no other state than the events. After a crash the same function goes on from the same events.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from tom.agent.journal import Journal
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import AskModel, CallTools, Complete, GiveUp, Nothing, Step


class Asking(Protocol):
    """Asks the model for one turn; see `asking.py`."""

    async def ask(self, run: Journal, wanted: AskModel) -> Event:
        """The `model.replied` to record. Raises `ProviderError` or `ContextTooSmall`."""
        ...


class ToolRunning(Protocol):
    """Calls the tools of one turn and records what they brought; see `toolrunner.py`."""

    async def call(self, run: Journal, wanted: CallTools) -> None:
        """Make every call that has no result yet."""
        ...


class Finishing(Protocol):
    """What else is to be told of an answer, e.g. how it is spoken; see `speech.py`."""

    async def finish(self, run: Journal, reply: Event) -> Mapping[str, Any]:
        """What `run.completed` carries besides. Never raises."""
        ...


async def drive(run: Journal, asking: Asking, tools: ToolRunning, finishing: Finishing | None = None) -> None:
    """Take a started run to its end, to where it waits for its person, or to where the agent stops (`Journal.parked`)."""
    while not run.parked:
        match run.progress.next_step():
            case AskModel() as wanted:
                reply = await asking.ask(run, wanted)
                # The answer and the end of the run share one commit, and so one fsync.
                after = run.progress.apply(reply).next_step()
                await run.record(reply, *(await _ended(run, reply, after, finishing)))
            case CallTools() as wanted:
                await tools.call(run, wanted)
            case Complete() as wanted:
                await run.record(_completed(run, None, wanted, {}))
            case GiveUp(code):
                await run.fail(code, _REASONS[code])
            case Nothing():
                return


_REASONS = {
    "crash_loop": "This message stopped the agent several times and is not tried again by itself.",
    "model_bad_call": "The language model could not write a readable tool call.",
}


async def _ended(run: Journal, reply: Event, after: Step, finishing: Finishing | None) -> tuple[Event, ...]:
    """The end of the run, when ``reply`` is its answer."""
    if not isinstance(after, Complete):
        return ()
    more = await finishing.finish(run, reply) if finishing is not None else dict[str, Any]()
    return (_completed(run, reply, after, more),)


def _completed(run: Journal, reply: Event | None, wanted: Complete, more: Mapping[str, Any]) -> Event:
    progress = run.progress if reply is None else run.progress.apply(reply)
    return happened.run_completed(
        run.conversation_id,
        run_id=run.run_id,
        usage=progress.usage,
        finish_reason=wanted.finish_reason,
        hops=progress.turns,
        more=more,
    )
