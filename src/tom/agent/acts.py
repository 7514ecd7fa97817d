"""What an agent alone records of its runs: answers to asks, and effects of tools. Never an argument, never a content.

It listens to the feed and writes behind it, so a run does not wait for the record; what a kill cuts off between an event
and its row is missing here, and stands in the history.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tom.agent.feed import ALL, Feed, Item, Stored
from tom.audit.chain import Chain
from tom.conversation.event import Event, EventType
from tom.conversation.tool import ToolClass

_MOST_KNOWN: Final = 4096
_LAST_SECONDS: Final = 2.0
_TOLD: Final = ("service", "tool", "class", "digest", "verdict", "approval_id", "run_id")


@dataclass(frozen=True, slots=True)
class _Act:
    kind: str
    who: str
    source: str
    subject: str
    after: Mapping[str, Any]


class Acts:
    """Puts the acts of one person's runs into a record."""

    def __init__(self, chain: Chain, user: str) -> None:
        """Record in ``chain`` what is done for ``user``."""
        self._chain = chain
        self._user = user
        self._calls: OrderedDict[tuple[str, str | None], Mapping[str, Any]] = OrderedDict()
        self._due: asyncio.Queue[_Act] = asyncio.Queue()

    def listen(self, feed: Feed) -> Callable[[], None]:
        """Hear everything; returns what ends it."""
        return feed.listen(ALL, self._hear)

    async def serve(self) -> None:
        """Write what was heard, until cancelled; then what is left."""
        try:
            while True:
                await self._write(await self._due.get())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    while not self._due.empty():
                        await self._write(self._due.get_nowait())

    async def _write(self, act: _Act) -> None:
        await self._chain.note(act.kind, who=act.who, source=act.source, subject=act.subject, after=act.after)

    def _hear(self, item: Item) -> None:
        if isinstance(item, Stored) and (act := self._act(item.event)) is not None:
            self._due.put_nowait(act)

    def _act(self, event: Event) -> _Act | None:
        extra = event.extra
        if event.type == EventType.APPROVAL_ANSWERED:
            told = {"decision": extra["decision"], "remember": extra.get("remember"), "run_id": event.run_id}
            told |= {"tool": f"{extra['service']}.{extra['tool']}", "digest": extra.get("arguments_digest")}
            return _Act(
                "approval.answered", str(extra["by"]), str(extra.get("device", "")), str(extra["approval_id"]), told
            )
        call = (event.run_id, event.tool_call_id)
        if event.type == EventType.TOOL_CALLED:
            if not ToolClass(extra["class"]).reads_only:
                self._calls[call] = {name: extra[name] for name in _TOLD if name in extra}
                if len(self._calls) > _MOST_KNOWN:
                    self._calls.popitem(last=False)
            return None
        if event.type == EventType.TOOL_RETURNED and (known := self._calls.pop(call, None)) is not None:
            return self._effect("failed" if extra.get("is_error") else "done", known)
        if event.type == EventType.TOOL_UNRESOLVED:
            known = self._calls.pop(call, None)
            return self._effect("unknown", known or {name: extra[name] for name in _TOLD if name in extra})
        return None

    def _effect(self, state: str, known: Mapping[str, Any]) -> _Act:
        subject = f"{known.get('service', '')}.{known.get('tool', '')}"
        return _Act("effect", self._user, "run", subject, {**known, "state": state})
