"""Events of small conversations, for whoever tests a store or what stands on one. Ids are the caller's."""

from collections.abc import Sequence

from tom.conversation import asks, upkeep
from tom.conversation import event as happened
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import Event
from tom.conversation.label import CLEAN
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import Usage

COST = Usage(5, 7)
NOTES = "notes"
ADD = ToolDefinition("notes_add", NOTES, "add", "", {}, pin="pin-1")


def opened(conversation: str = "c", surface: str = "ws") -> Event:
    """A conversation begins."""
    return happened.conversation_opened(conversation, surface=surface, metadata={"pin": 1})


def asked(run: str, conversation: str = "c", *, request: str = "", text: str = "Hello") -> Event:
    """A message that makes the run ``run``; its request id is that of the run unless given."""
    return happened.message_received(
        conversation,
        text,
        run_id=run,
        request_id=request or f"request-{run}",
        payload_digest=f"digest of {text}",
        surface="ws",
    )


def started(run: str, conversation: str = "c") -> Event:
    """The run is taken up."""
    return happened.run_started(conversation, run_id=run, level=1, services=[NOTES])


def resumed(run: str, conversation: str = "c") -> Event:
    """The run is taken up again."""
    return happened.run_resumed(conversation, run_id=run)


def replied(run: str, conversation: str = "c", *, calls: Sequence[ToolCall] = (), text: str = "Hi") -> Event:
    """The model answers."""
    return happened.model_replied(
        conversation,
        text,
        run_id=run,
        turn=0,
        attempt=1,
        finish_reason="stop",
        model="m",
        usage=COST,
        tool_calls=tuple(calls),
    )


def failed_try(run: str, conversation: str = "c") -> Event:
    """The model did not answer, which cost something all the same."""
    return happened.model_failed(
        conversation, run_id=run, turn=0, attempt=1, code="provider_error", retryable=True, usage=Usage(1, 0, True)
    )


def called(run: str, call: str = "call-1", conversation: str = "c") -> Event:
    """A tool is about to be called."""
    return happened.tool_called(
        conversation,
        run_id=run,
        turn=0,
        call_id=call,
        service=NOTES,
        tool="add",
        arguments={"text": "milk"},
        digest="sha256:0",
        tool_class=ToolClass.WRITE_OWN,
        key=f"key of {run} {call}",
    )


def returned(run: str, call: str = "call-1", conversation: str = "c", *, is_error: bool = False) -> Event:
    """Its result is there."""
    return happened.tool_returned(
        conversation, "added", run_id=run, turn=0, call_id=call, is_error=is_error, duration_ms=3
    )


def unresolved(run: str, call: str = "call-1", conversation: str = "c") -> Event:
    """Nobody knows whether it happened."""
    return happened.tool_unresolved(
        conversation, "It may have happened.", run_id=run, turn=0, call_id=call, service=NOTES, tool="add"
    )


def completed(run: str, conversation: str = "c") -> Event:
    """The run is over."""
    return happened.run_completed(conversation, run_id=run, usage=COST, finish_reason="stop", hops=1)


def failed(run: str, conversation: str = "c") -> Event:
    """The run is over without an answer."""
    return happened.run_failed(conversation, run_id=run, usage=COST, code="provider_error", reason="It is away.")


def cancelled(run: str, conversation: str = "c") -> Event:
    """The run was stopped."""
    return happened.run_cancelled(conversation, run_id=run, usage=COST, reason="stopped")


def waiting(run: str, conversation: str = "c") -> Event:
    """The run waits for a person."""
    return Event(conversation_id=conversation, type="run.waiting", extra={"run_id": run})


def retried(run: str, of: str, conversation: str = "c") -> Event:
    """The message of the run ``of`` is to be answered again."""
    return happened.run_retried(conversation, run_id=run, retry_of=of, request_id=f"request-{run}")


def wished(run: str, call: str = "call-1", conversation: str = "c", *, ask: str = "") -> Event:
    """The run asks whether a tool may be called; the ask's id is ``ask of RUN CALL`` unless given."""
    return asks.approval_requested(
        conversation,
        run_id=run,
        turn=0,
        call_id=call,
        approval_id=ask or f"ask of {run} {call}",
        tool=ADD,
        arguments={},
        digest="sha256:0",
        reason="it writes",
        label=CLEAN,
        expires_at="2026-02-01T00:00:00.000Z",
        may_remember=True,
    )


def granted(
    run: str,
    call: str = "call-1",
    conversation: str = "c",
    *,
    decision: str = "allow",
    by: str = "bob",
    remember: str = "once",
    edited: bool = False,
) -> Event:
    """The person's word on what `wished` asks."""
    arguments, digest = ({"text": "oats"}, "sha256:1") if edited else (None, "")
    asked_for = wished(run, call, conversation)
    return asks.approval_answered(
        asked_for, decision=decision, by=by, remember=remember, arguments=arguments, digest=digest
    )


def questioned(run: str, call: str = "call-1", conversation: str = "c") -> Event:
    """A service asks something during a call; the id is ``question of RUN CALL``."""
    return asks.elicitation_requested(
        conversation,
        run_id=run,
        turn=0,
        call_id=call,
        elicitation_id=f"question of {run} {call}",
        service=NOTES,
        question=Elicitation("form", "Which list?", {"type": "object"}),
        expires_at=None,
    )


def told(run: str, call: str = "call-1", conversation: str = "c", *, outcome: str = "accept", by: str = "bob") -> Event:
    """The person's answer to what `questioned` asks."""
    return asks.elicitation_answered(questioned(run, call, conversation), ElicitationAnswer(outcome), by=by)


def changed(conversation: str = "c", **change: object) -> Event:
    """What is known about a conversation changes."""
    return upkeep.conversation_changed(conversation, change)


def compacted(conversation: str = "c", *, through: int = 1, text: str = "They said hello.") -> Event:
    """A summary stands for the runs that began up to ``through``."""
    return upkeep.history_compacted(conversation, text, first_seq=1, through_seq=through, usage=COST)
