"""What an agent alone tells its admin, and does for them; and what every agent tells its gateway's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tom.agent.cell import Cell
from tom.agent.learning import UPKEEP
from tom.agent.rest_faults import SessionNotFound
from tom.archive.archive import Archive
from tom.audit.asked import Page
from tom.audit.changing import Changeable, changed, current
from tom.audit.desk import Setting
from tom.audit.refusals import NotSupervised, PrivateConversations
from tom.audit.runtime import Live, runtime_body
from tom.conversation.event import EventType
from tom.store.eventstore import ConversationRow
from tom.telemetry import logs

log = logs.get("admin")

_PAGE = 200
_SAID = frozenset({EventType.MESSAGE_RECEIVED, EventType.MODEL_REPLIED})
_OPEN_MODES = frozenset({"local", "public"})
"""Where whoever runs the program is also the one whose conversations these are, or nobody's in particular."""

type OpenArchive = Callable[[], Awaitable[Archive]]


@dataclass(slots=True, eq=False)
class AgentHouse:
    """`tom.audit.desk.House` of an agent alone."""

    cell: Cell
    explain: Callable[[], Sequence[Setting]]
    open_archive: OpenArchive | None = None
    restarting: asyncio.Event = field(default_factory=asyncio.Event)

    async def runtime(self) -> Mapping[str, Any]:
        """The body of ``GET /admin/runtime``."""
        cell = self.cell
        live = Live(
            limiter=cell.rates.limiter.backend,
            started_at=cell.uptime.started_at,
            lag=cell.archive_lag(),
            services=cell.services,
            connected=connected(cell),
            archived=self.open_archive is not None,
        )
        return runtime_body(cell.settings, live)

    async def sessions(self, page: Page, state: str | None) -> Mapping[str, Any]:
        """The sessions of this agent's person."""
        return {"sessions": await session_list(self.cell, page, state)}

    async def messages(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """What was said. Raises `PrivateConversations`, `SessionNotFound`."""
        self._check_private()
        rows = await self.cell.store.conversations(ids=[session_id])
        if not rows or rows[0].surface == UPKEEP:
            raise SessionNotFound
        found: list[Mapping[str, Any]] = []
        after = 0
        while events := await self.cell.store.read(session_id, after=after, limit=_PAGE):
            after = events[-1].seq
            found += [
                {"role": event.role, "content": event.content, "created_at": event.timestamp}
                for event in events
                if event.type in _SAID and event.content
            ]
        return found

    async def archived(
        self, page: Page, since: str | None, until: str | None
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """A page of mirrored sessions. Raises `ArchiveUnavailable`."""
        if self.open_archive is None:
            return (), 0
        archive = await self.open_archive()
        try:
            rows, total = await archive.sessions(limit=page.limit, offset=page.offset, since=since, until=until)
        finally:
            await archive.close()
        user = self.cell.settings.user
        return [
            {
                "id": row.id,
                "user": user,
                "memory_limit": row.memory_limit,
                "created_at": row.created_at,
                "metadata": dict(row.metadata),
            }
            for row in rows
        ], total

    async def archived_messages(self, session_id: str, page: Page) -> Sequence[Mapping[str, Any]]:
        """A page of a mirrored session's messages. Raises `PrivateConversations`, `ArchiveUnavailable`."""
        self._check_private()
        if self.open_archive is None:
            return ()
        archive = await self.open_archive()
        try:
            rows = await archive.messages(session_id, limit=page.limit, offset=page.offset)
        finally:
            await archive.close()
        return [
            {"role": row.role, "content": row.content, "created_at": row.created_at, "stored_at": row.stored_at}
            for row in rows
        ]

    def settings(self) -> Sequence[Setting]:
        """Every setting; blocks."""
        return self.explain()

    def current(self, field: str) -> Any:
        """What a changeable setting says now."""
        return current(changeable(self.cell), field)

    async def change(self, field: str, value: Any) -> Any:
        """Put another value in force."""
        return apply_change(self.cell, field, value)

    def restart(self) -> None:
        """End after what runs has ended. Raises `NotSupervised`."""
        if not self.cell.settings.doors.supervised:
            raise NotSupervised
        self.restarting.set()

    def _check_private(self) -> None:
        if self.cell.settings.doors.auth not in _OPEN_MODES:
            raise PrivateConversations


def changeable(cell: Cell) -> Changeable:
    """What of the settings an admin may change."""
    return Changeable(cell.settings.doors, cell.settings.log)


def apply_change(cell: Cell, field: str, value: Any) -> Any:
    """Put another value in force in this agent and return it. Raises `InvalidField`, `InvalidValue`."""
    now = changed(changeable(cell), field, value)
    cell.settings = replace(cell.settings, doors=now.doors, log=now.log)
    cell.rates.settings = now.doors.rates
    logs.set_level(now.log.level)
    log.info("🔧 A setting was changed", event="setting_changed", field=field)
    return current(now, field)


def connected(cell: Cell) -> list[str]:
    """The names of the services that answer."""
    return [status.name for status in cell.toolbox.status() if status.status == "connected"]


async def session_list(cell: Cell, page: Page, state: str | None) -> list[Mapping[str, Any]]:
    """A page of the sessions, newest use first, without titles, which are texts of their people."""
    found: list[ConversationRow] = []
    before: str | None = None
    wanted = page.offset + page.limit
    while len(found) < wanted:
        rows = await cell.store.conversations(limit=_PAGE, before=before)
        found += [row for row in rows if row.surface != UPKEEP and state in {None, row.state}]
        if len(rows) < _PAGE:
            break
        before = f"{rows[-1].updated_at}/{rows[-1].id}"
    return [
        {
            "id": row.id,
            "user": cell.settings.user,
            "state": row.state,
            "memory_limit": row.memory_limit,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "metadata": dict(row.metadata),
        }
        for row in page.of(found)
    ]
