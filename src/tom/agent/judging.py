"""What may become of a call: the policy's verdict with all it depends on, and the request that asks the person."""

from collections.abc import Sequence
from datetime import timedelta

from tom import ids
from tom.agent.calls import Call, hidden_in, masked
from tom.agent.journal import Journal
from tom.clock import Clock, timestamp
from tom.config.agent import AgentSettings
from tom.conversation import asks
from tom.conversation.event import Event
from tom.conversation.label import CLEAN
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.verdict import NAMED, Person, Situation, Verdict, decide, shown_name
from tom.store.eventstore import EventStore


class Judging:
    """Judges calls for one person."""

    def __init__(self, settings: AgentSettings, store: EventStore, clock: Clock) -> None:
        """Judge by the rules of ``settings``; what was allowed for a conversation is asked of ``store``."""
        self._settings = settings
        self._store = store
        self._clock = clock

    async def verdict(self, run: Journal, call: Call) -> Verdict:
        """The verdict on a call that could be made."""
        tool = _known(call)
        settings, reply = self._settings, run.progress.last_reply
        situation = Situation(
            label=reply.label if reply is not None else CLEAN,
            now=timestamp(self._clock.now()),
            standing=await self._stands(run, tool),
            unresolved=tool.full_name in run.progress.unresolved_tools and not tool.tool_class.reads_only,
            proposals=settings.policy.proposals,
            arguments=call.arguments,
        )
        person = Person(settings.user, settings.groups, present=settings.doors.auth != "public")
        return decide(tool, person, situation, settings.policy.rules)

    def request(self, run: Journal, call: Call, verdict: Verdict) -> Event:
        """The ask for one call."""
        tool, reply = _known(call), run.progress.last_reply
        label = reply.label if reply is not None else CLEAN
        hidden = hidden_in(call.arguments)
        expires = self._clock.now() + timedelta(hours=self._settings.chat.approval_hours)
        return asks.approval_requested(
            run.conversation_id,
            run_id=run.run_id,
            turn=call.turn,
            call_id=call.id,
            approval_id=ids.ulid(),
            tool=tool,
            arguments=masked(call.arguments),
            digest=call.digest,
            reason=_with_hidden(verdict.reason, hidden) if label.tainted else verdict.reason,
            hidden=hidden,
            label=label,
            expires_at=timestamp(expires),
            may_remember=verdict.may_remember,
        )

    def changed_since(self, run: Journal, call: Call, decision: Event) -> str:
        """Why a yes does not hold for the call as it would be made now; empty when it does."""
        tool, asked = _known(call), run.progress.asks[call.id].extra
        if (asked["service"], asked["tool"]) != (tool.service, tool.tool):
            return "the tool of that name is another one now"
        if decision.extra["pin"] != tool.pin or asked["class"] != tool.tool_class:
            return "the tool has changed since it was approved"
        if decision.extra["arguments_digest"] != call.digest:
            return "these are not the arguments that were approved"
        return ""

    def differs(self, call: Call, intent: Event) -> str:
        """Why a call that is to be made once more is not the one that was made; empty when it is."""
        tool, then = _known(call), intent.extra
        if (then["service"], then["tool"]) != (tool.service, tool.tool):
            return "the tool of that name is another one now"
        if then.get("pin", tool.pin) != tool.pin or then["class"] != tool.tool_class:
            return "the tool has changed since it was called"
        return "" if then["digest"] == call.digest else "its arguments are others now"

    async def _stands(self, run: Journal, tool: ToolDefinition) -> bool:
        """Whether the person has said yes to this tool, as it is pinned, for this conversation."""
        if tool.tool_class is not ToolClass.WRITE_EXTERNAL:
            return False
        rows = await self._store.conversations(ids=[run.conversation_id])
        return bool(rows) and rows[0].allowed.get(tool.full_name) == tool.pin


def _with_hidden(reason: str, hidden: Sequence[str]) -> str:
    """The reason, and that not all of what is sent can be seen: whoever wrote the text may have put it there."""
    if not hidden:
        return reason
    more = f" and {len(hidden) - NAMED} more" if len(hidden) > NAMED else ""
    return f"{reason} Not everything is shown: {', '.join(shown_name(path) for path in hidden[:NAMED])}{more}."


def _known(call: Call) -> ToolDefinition:
    assert call.tool is not None  # noqa: S101 - a call without a tool is refused before it is judged
    return call.tool
