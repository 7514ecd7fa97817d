"""A small conversation, told event by event."""

from dataclasses import dataclass, field

import pytest

from tom.conversation import asks as asking
from tom.conversation import event as happened
from tom.conversation import upkeep
from tom.conversation.asks import ALLOW
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import Event
from tom.conversation.label import CLEAN
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import Usage

CONVERSATION = "c1"


@dataclass
class Story:
    """Appends events with seq, as a store would."""

    events: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> Event:
        seq = len(self.events) + 1
        stored = event.stored(event_id=f"e{seq}", seq=seq, timestamp=f"2026-01-01T00:00:{seq % 60:02d}.000Z")
        self.events.append(stored)
        return stored

    def asks(self, run, text="hello", **more):
        return self.tell(
            happened.message_received(
                CONVERSATION, text, run_id=run, request_id=f"q-{run}", payload_digest="d", surface="ws", **more
            )
        )

    def starts(self, run):
        return self.tell(happened.run_started(CONVERSATION, run_id=run, level=1, services=["time"]))

    def resumes(self, run):
        return self.tell(happened.run_resumed(CONVERSATION, run_id=run))

    def replies(self, run, turn=0, text="", calls=(), attempt=1, tokens=10):
        return self.tell(
            happened.model_replied(
                CONVERSATION,
                text,
                run_id=run,
                turn=turn,
                attempt=attempt,
                finish_reason="tool_calls" if calls else "stop",
                model="m",
                usage=Usage(tokens, tokens),
                tool_calls=tuple(ToolCall(call, "get_time", "{}") for call in calls),
            )
        )

    def fails_to_reply(self, run, turn=0, attempt=1):
        return self.tell(
            happened.model_failed(
                CONVERSATION, run_id=run, turn=turn, attempt=attempt, code="provider_timeout", retryable=True
            )
        )

    def intends(self, run, call, turn=0, tool_class=ToolClass.READ_PRIVATE):
        return self.tell(
            happened.tool_called(
                CONVERSATION,
                run_id=run,
                turn=turn,
                call_id=call,
                service="time",
                tool="get_time",
                arguments={},
                digest="sha256:0",
                tool_class=tool_class,
                key="k",
            )
        )

    def returns(self, run, call, turn=0, content="12:00", *, bad_call=False):
        tool = ToolDefinition("get_time", "time", "get_time", "", {})
        return self.tell(
            happened.tool_returned(
                CONVERSATION,
                content,
                run_id=run,
                turn=turn,
                call_id=call,
                is_error=bad_call,
                duration_ms=1,
                tool=tool,
                bad_call=bad_call,
            )
        )

    def is_unresolved(self, run, call, turn=0):
        return self.tell(
            happened.tool_unresolved(
                CONVERSATION, "may have happened", run_id=run, turn=turn, call_id=call, service="time", tool="get_time"
            )
        )

    def completes(self, run):
        return self.tell(
            happened.run_completed(CONVERSATION, run_id=run, usage=Usage(1, 1), finish_reason="stop", hops=1)
        )

    def fails(self, run):
        return self.tell(happened.run_failed(CONVERSATION, run_id=run, usage=Usage(), code="deadline", reason="late"))

    def cancels(self, run):
        return self.tell(happened.run_cancelled(CONVERSATION, run_id=run, usage=Usage(), reason="stopped"))

    def retries(self, run, retry_of):
        return self.tell(happened.run_retried(CONVERSATION, run_id=run, retry_of=retry_of, request_id=f"q-{run}"))

    def wishes(self, run, call, turn=0, label=CLEAN):
        tool = ToolDefinition("notes_add", "notes", "add", "", {}, pin="pin-1")
        return self.tell(
            asking.approval_requested(
                CONVERSATION, run_id=run, turn=turn, call_id=call, approval_id=f"ask {call}", tool=tool, arguments={},
                digest="sha256:0", reason="it writes", label=label, expires_at=None, may_remember=False,
            )
        )  # fmt: skip

    def decides(self, asked, decision=ALLOW, **more):
        return self.tell(asking.approval_answered(asked, decision=decision, by="bob", **more))

    def questions(self, run, call, turn=0, key="", question="", **more):
        return self.tell(
            asking.elicitation_requested(
                CONVERSATION, run_id=run, turn=turn, call_id=call, elicitation_id=question or f"question {call}",
                service="notes", question=Elicitation("form", "Which list?", key=key), expires_at=None, **more,
            )
        )  # fmt: skip

    def tells(self, asked, outcome="accept", **content):
        return self.tell(asking.elicitation_answered(asked, ElicitationAnswer(outcome, content), by="bob"))

    def waits(self, run, reason="approval"):
        return self.tell(asking.run_waiting(CONVERSATION, run_id=run, reason=reason))

    def sums_up(self, through, text="They said hello."):
        return self.tell(upkeep.history_compacted(CONVERSATION, text, first_seq=1, through_seq=through))

    def answered(self, run, text="fine", question="hello"):
        self.asks(run, question)
        self.starts(run)
        self.replies(run, text=text)
        self.completes(run)


@pytest.fixture
def story():
    return Story()
