"""What an agent counts, and what its log tells of each request and run.

Counting listens to the feed, so that no run knows of it; where metrics are off nobody listens. The log has ids, codes
and durations, never a text that somebody wrote.
"""

from collections import OrderedDict
from collections.abc import Callable

from tom.agent.feed import ALL, Delta, Feed, Item, Stored
from tom.agent.recorded import status_of
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import Event, EventType
from tom.llm.levels import UNCONFIGURED
from tom.telemetry import logs
from tom.telemetry.metrics import Metrics

log = logs.get("agent")

TOLD_FAILED_RUN = "tom.told_failed_run"
"""Set in a connection's scope by an endpoint whose answer says that a run failed: its id. It is counted as one failure."""

_MOST_KNOWN = 4096
_BEGINS = frozenset({EventType.RUN_STARTED, EventType.RUN_RESUMED})
_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


class Tally:
    """Counts what happens in the conversations of one person."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        """Count in ``metrics``."""
        self._metrics = metrics
        self._clock = clock
        self._silent: OrderedDict[str, float] = OrderedDict()
        self._calls: OrderedDict[tuple[str, str], str] = OrderedDict()

    def listen(self, feed: Feed) -> Callable[[], None]:
        """Hear everything; returns what ends it."""
        return feed.listen(ALL, self.hear)

    def hear(self, item: Item) -> None:
        """One thing that happened."""
        if isinstance(item, Delta):
            begun = self._silent.pop(item.run_id, None) if item.kind == "text" else None
            if begun is not None:
                self._metrics.first_token(self._clock.monotonic() - begun)
        elif isinstance(item, Stored):
            self._count(item.event)

    def _count(self, event: Event) -> None:
        kind = event.type
        if kind in _BEGINS:
            _keep(self._silent, event.run_id, self._clock.monotonic())
        elif kind == EventType.MODEL_REPLIED:
            self._silent.pop(event.run_id, None)
        elif kind == EventType.MODEL_FAILED:
            self._metrics.provider_error(str(event.extra["code"]))
        elif kind in _ENDS:
            self._silent.pop(event.run_id, None)
            self._metrics.run_ended(event.run_id, status_of(event) if kind == EventType.RUN_FAILED else 0)
        elif event.tool_call_id is not None:
            self._count_call(event, (event.run_id, event.tool_call_id))
        if event.usage is not None and kind not in _ENDS:
            self._metrics.tokens(event.usage.prompt_tokens, event.usage.completion_tokens)

    def _count_call(self, event: Event, call: tuple[str, str]) -> None:
        if event.type == EventType.TOOL_CALLED:
            _keep(self._calls, call, str(event.extra["service"]))
        elif event.type == EventType.TOOL_RETURNED and (service := self._calls.pop(call, None)) is not None:
            self._metrics.tool_call(service, "error" if event.extra.get("is_error") else "ok")
        elif event.type == EventType.TOOL_UNRESOLVED:
            self._metrics.tool_call(self._calls.pop(call, None) or str(event.extra.get("service", "")), "unresolved")


def _keep[K, V](known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)


def tell_sessions(feed: Feed) -> Callable[[], None]:
    """Log each conversation that is opened; returns what ends it."""

    def hear(item: Item) -> None:
        if isinstance(item, Stored) and item.event.type == EventType.CONVERSATION_OPENED:
            log.info("🆕 Session created", event="session_created", session_id=item.event.conversation_id)

    return feed.listen(ALL, hear)


def tell_configuration(settings: AgentSettings, limiter: str) -> None:
    """Log what the settings have come to: names and numbers, no address and no secret."""
    doors = settings.doors
    log.info(
        f"⚙️ Model {settings.llm}, history in {settings.persistence.type}, archive {settings.archive.backend}",
        event="runtime_configuration_resolved",
        llm=settings.llm,
        services=[entry.name for entry in settings.services if entry.enabled],
        history=settings.persistence.type if settings.persistence.enabled else "memory",
        archive=settings.archive.backend,
        limiter=limiter,
        auth=doors.auth,
        metrics=doors.metrics,
    )
    if settings.llm == UNCONFIGURED:
        log.warning(
            "⚠️ No provider has a usable key: messages are kept and can be retried", event="default_provider_unavailable"
        )
