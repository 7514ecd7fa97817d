"""Beginning anew: a surface gets a new current conversation, and what the old one taught is kept.

Nothing is deleted. In the background, after the answer, two runs of their own look at the conversation that has ended:
one hands it to the memory service, one may propose changes to the person's behaviours. They live in conversations of
the surface `UPKEEP`, which no list shows and which are erased like temporary ones.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tom import ids
from tom.agent.attachments import Enclosed, Given
from tom.agent.behaviours import Behaviours
from tom.agent.conversations import Conversations
from tom.agent.learning import EXTRACTING, PROPOSING, TUNING_LEVEL, UPKEEP
from tom.agent.memories import SERVICE as MEMORY_SERVICE
from tom.agent.memories import Memories
from tom.agent.submission import Submission
from tom.agent.visiting import VISITED, is_open_to_visitors
from tom.clock import Clock, timestamp
from tom.conversation.history import fold
from tom.conversation.label import Label, union
from tom.conversation.message import Message, Role
from tom.errors import ConversationNotFound, TomError
from tom.store.eventstore import ConversationRow, EventStore
from tom.telemetry import logs

log = logs.get("agent")

LEAST = 50
"""Characters below which a conversation teaches nothing."""

LAST = 3000
"""Characters at its end that behaviours are tuned by."""

MAX_BYTES = 64 * 1024
TOKENS = 20_000
TEMPORARY = "temporary"
KEPT = timedelta(hours=24)
OFTEN = 3600.0
PAGE = 200
NAME = "the conversation that has ended"


def is_temporary(row: ConversationRow) -> bool:
    """Whether the conversation is erased a day after its last message."""
    return bool(row.metadata.get(TEMPORARY))


@dataclass(frozen=True, slots=True)
class Begun:
    """``new`` is current from now on, ``old`` was until now (None: there was none, or it is empty and goes on as ``new``)."""

    new: str
    old: str | None


class Afresh:
    """Begins anew at the surfaces of one person."""

    def __init__(
        self,
        store: EventStore,
        conversations: Conversations,
        memories: Memories,
        behaviours: Behaviours,
        clock: Clock,
        *,
        visitors: bool = False,
    ) -> None:
        """Open conversations with ``conversations``; ``serve`` does what follows in the background.

        ``visitors``: the conversations of a surface are of strangers, who neither share one nor teach anything.
        """
        self._visitors = visitors
        self._clock = clock
        self._store = store
        self._conversations = conversations
        self._memories = memories
        self._behaviours = behaviours
        self._ended: asyncio.Queue[str] = asyncio.Queue(maxsize=1000)

    async def begin(self, surface: str) -> Begun:
        """Open a new conversation at ``surface``; one that is still empty stays. Raises storage errors, `ShuttingDown`."""
        if self._visitors:
            return Begun(await self._conversations.open(surface), None)
        rows = await self._store.conversations(surface=surface, limit=1)
        if rows and rows[0].last_seq == 1:
            return Begun(rows[0].id, None)
        new = await self._conversations.open(surface)
        if not rows:
            return Begun(new, None)
        if not is_temporary(rows[0]) and not is_open_to_visitors(rows[0]) and not self._ended.full():
            self._ended.put_nowait(rows[0].id)
        return Begun(new, rows[0].id)

    async def opened(self, surface: str) -> str:
        """As `begin`; the id of the conversation that is current now."""
        return (await self.begin(surface)).new

    async def opened_to_visitors(self, surface: str) -> str:
        """The id of a new conversation that follows one of visitors; it teaches nothing."""
        return await self._conversations.open(surface if surface == "rest" else VISITED)

    async def serve(self) -> None:
        """Look at conversations that have ended, and erase temporary ones in time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._learn_on())
            group.create_task(self._erase_on())

    async def _erase_on(self) -> None:
        while True:
            try:
                await self.erase_outlived()
            except TomError as error:
                log.warning("⚠️ Temporary conversations were not erased", event="erase_failed", code=error.code)
            await self._clock.sleep(OFTEN)

    async def erase_outlived(self) -> int:
        """Erase temporary conversations a day after their last message; returns how many. Raises storage errors."""
        latest = timestamp(self._clock.now() - KEPT)

        def outlived(row: ConversationRow) -> bool:
            return is_temporary(row) and row.updated_at < latest and row.state == "idle"

        erased, before = 0, None
        while rows := await self._store.conversations(limit=PAGE, before=before):
            before = f"{rows[-1].updated_at}/{rows[-1].id}"
            for row in rows:
                if outlived(row):
                    erased += await self._erase(row.id, outlived)
        return erased

    async def _erase(self, conversation_id: str, outlived: Callable[[ConversationRow], bool]) -> bool:
        try:
            return await self._conversations.erase(conversation_id, only_if=outlived)
        except ConversationNotFound:  # its person was faster
            return False

    async def _learn_on(self) -> None:
        while True:
            conversation_id = await self._ended.get()
            try:
                await self._learn(conversation_id)
            except TomError as error:
                log.warning("⚠️ A conversation was not looked at", event="upkeep_failed", code=error.code)
            except Exception as error:  # noqa: BLE001 - what is learned is extra; it must not end the agent
                log.error("❌ A defect in looking at a conversation", event="internal_error", exception=error)

    async def _learn(self, conversation_id: str) -> None:
        said = await self._said(conversation_id)
        words = [{"role": str(message.role), "content": message.text} for message in said]
        if sum(len(line["content"]) for line in words) < LEAST:
            return
        label = union(message.label for message in said)
        if await self._memories.can_extract():
            await self._start(conversation_id, EXTRACTING, _within(words), label)
        if self._behaviours.service:
            text = "\n\n".join(f"{line['role']}: {line['content']}" for line in words)
            await self._start(conversation_id, PROPOSING, text[-LAST:], label)

    async def _said(self, conversation_id: str) -> tuple[Message, ...]:
        """What the person and Tom said to each other, newest part, with the labels of what was read on the way."""
        history = fold(await self._store.tail(conversation_id, tokens=TOKENS))
        messages = [message for run in history.runs.values() for message in run.messages()]
        return tuple(message for message in messages if message.role in {Role.USER, Role.ASSISTANT} and message.text)

    async def _start(self, conversation_id: str, purpose: str, text: str, label: Label) -> None:
        """Give one run of its own the text of the conversation, as a text that came with its message."""
        source = f"conversation:{conversation_id}"
        enclosed = Enclosed(
            "text",
            text.encode("utf-8", "replace"),
            NAME,
            source=source if label.tainted else "",
            private=source if label.private else "",
        )
        service = MEMORY_SERVICE if purpose == EXTRACTING else self._behaviours.service
        options: Mapping[str, Any] = {"upkeep": purpose, "services": [service], "level": TUNING_LEVEL}
        message = Submission(
            text=INSTRUCTIONS[purpose],
            request_id=f"{purpose}-{ids.ulid()}",
            surface=UPKEEP,
            conversation_id=await self._conversations.open(UPKEEP, {TEMPORARY: True, "about": conversation_id}),
            options=options,
            attachments=(Given(enclosed),),
        )
        await self._conversations.accept(message)


INSTRUCTIONS: Mapping[str, str] = {
    EXTRACTING: "Hand the conversation that has ended to the memory service.",
    PROPOSING: "Look whether the conversation that has ended shows how the user wants to be answered.",
}


def _within(words: list[dict[str, str]]) -> str:
    """The newest lines that fit into what the memory service takes."""
    kept = list(words)
    while len(kept) > 1 and len(json.dumps(kept, ensure_ascii=False).encode()) > MAX_BYTES:
        kept.pop(0)
    if len(json.dumps(kept, ensure_ascii=False).encode()) > MAX_BYTES:
        kept = [{**kept[0], "content": kept[0]["content"][: MAX_BYTES // 8]}]
    return json.dumps(kept, ensure_ascii=False)
