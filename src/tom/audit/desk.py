"""The desk: what admins ask for is done here, the same in the gateway and in an agent alone, each change with its row.

Above: the doors, which know who asks and let in whom the gate lets in. Below: the bypass list, the record, and the
program (`House`), which tells what it alone knows. The desk reads no header and no token.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from tom.audit.asked import Answer, Asked, Page, read_bypass, read_change, read_flag, read_page, read_span, read_state
from tom.audit.chain import Chain
from tom.audit.changing import FIELDS, SOURCE, UNTIL, field_named
from tom.clock import Clock, timestamp

MASK: Final = "***"


class Entry(Protocol):
    """One line of the bypass list; `tom.limits.bypass.Entry` is one."""

    @property
    def ip(self) -> str:
        """Address or network, in its one spelling."""
        ...

    @property
    def note(self) -> str:
        """Why."""
        ...

    @property
    def created_at(self) -> datetime:
        """Since when."""
        ...

    @property
    def expires_at(self) -> datetime | None:
        """Until when; None: it stays."""
        ...


class BypassList(Protocol):
    """The bypass list; `tom.limits.bypass.Bypass` is one."""

    def entries(self) -> Sequence[Entry]:
        """What is in force."""
        ...

    async def add(
        self, ip: str, note: str = "", expires_at: datetime | None = None, by: str = ""
    ) -> tuple[Entry, bool]:
        """Put it on the list; whether it is new."""
        ...

    async def remove(self, ip: str) -> Entry:
        """Take it off the list."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it holds: who says it, and whether its value is a secret."""

    key: str
    value: Any
    source: str
    secret: bool


class House(Protocol):
    """The program that the admin asks: what it alone knows and can do."""

    async def runtime(self) -> Mapping[str, Any]:
        """The body of ``GET /admin/runtime``."""
        ...

    async def sessions(self, page: Page, state: str | None) -> Mapping[str, Any]:
        """``{"sessions": […]}`` newest use first, without a text, and ``asleep`` where some could not be asked."""
        ...

    async def messages(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """What was said in a session. Raises `PrivateConversations`, or that there is none."""
        ...

    async def archived(
        self, page: Page, since: str | None, until: str | None
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """A page of mirrored sessions, and how many there are in all. Raises `ArchiveUnavailable`."""
        ...

    async def archived_messages(self, session_id: str, page: Page) -> Sequence[Mapping[str, Any]]:
        """A page of a mirrored session's messages. Raises `PrivateConversations`, `ArchiveUnavailable`."""
        ...

    def settings(self) -> Sequence[Setting]:
        """Every setting. Blocks: it is called in a thread."""
        ...

    def current(self, field: str) -> Any:
        """What a changeable setting says now. Raises `InvalidField`."""
        ...

    async def change(self, field: str, value: Any) -> Any:
        """Put another value in force, in all of the house; returns it. Raises `InvalidField`, `InvalidValue`."""
        ...

    def restart(self) -> None:
        """End after what runs has ended, to be started again. Raises `NotSupervised`."""
        ...


class Desk:
    """Answers admins."""

    def __init__(self, bypass: BypassList, chain: Chain, house: House, clock: Clock) -> None:
        """Change ``bypass``, write down in ``chain``, ask ``house``."""
        self._bypass = bypass
        self._chain = chain
        self._house = house
        self._clock = clock
        self._changed: dict[str, Any] = {}
        self.endpoints: Mapping[str, Callable[[Asked], Awaitable[Answer]]] = {
            "listBypass": self._list_bypass,
            "addBypass": self._add_bypass,
            "removeBypass": self._remove_bypass,
            "getRuntime": self._runtime,
            "listAllSessions": self._sessions,
            "listSessionMessages": self._messages,
            "listArchivedSessions": self._archived,
            "listArchivedMessages": self._archived_messages,
            "getConfig": self._config,
            "changeConfig": self._change,
            "restart": self._restart,
        }
        """By the operation's name (`tom.openapi.operations`)."""

    # --- the bypass list ----------------------------------------------------------------------------------------

    async def _list_bypass(self, asked: Asked) -> Answer:
        entries = self._bypass.entries()
        if read_flag(asked.query, "details"):
            return Answer(200, [_told(entry) for entry in entries])
        return Answer(200, [entry.ip for entry in entries])

    async def _add_bypass(self, asked: Asked) -> Answer:
        wanted = read_bypass(asked.body, self._clock.now())
        known = {entry.ip: _told(entry) for entry in self._bypass.entries()}
        entry, new = await self._bypass.add(wanted.ip, wanted.note, wanted.expires_at, asked.who)
        await self._record(asked, "bypass.added", entry.ip, known.get(entry.ip), _told(entry))
        return Answer(201 if new else 200, {"ip": entry.ip})

    async def _remove_bypass(self, asked: Asked) -> Answer:
        entry = await self._bypass.remove(asked.params["ip"])
        await self._record(asked, "bypass.removed", entry.ip, _told(entry), None)
        return Answer(204)

    # --- what is going on ---------------------------------------------------------------------------------------

    async def _runtime(self, asked: Asked) -> Answer:  # noqa: ARG002 - one signature
        return Answer(200, await self._house.runtime())

    async def _sessions(self, asked: Asked) -> Answer:
        page, state = read_page(asked.query), read_state(asked.query)
        found = await self._house.sessions(page, state)
        return Answer(200, {**found, "limit": page.limit, "offset": page.offset, "count": len(found["sessions"])})

    async def _messages(self, asked: Asked) -> Answer:
        messages = await self._house.messages(asked.params["session_id"])
        await self._record(asked, "session.read", asked.params["session_id"], None, {"messages": len(messages)})
        return Answer(200, messages)

    # --- the archive --------------------------------------------------------------------------------------------

    async def _archived(self, asked: Asked) -> Answer:
        page, (since, until) = read_page(asked.query), read_span(asked.query)
        sessions, total = await self._house.archived(page, since, until)
        shown = {"limit": page.limit, "offset": page.offset, "count": len(sessions), "total": total}
        return Answer(200, {"sessions": sessions, **shown})

    async def _archived_messages(self, asked: Asked) -> Answer:
        page, session_id = read_page(asked.query), asked.params["session_id"]
        messages = await self._house.archived_messages(session_id, page)
        await self._record(asked, "archive.read", session_id, None, {"messages": len(messages)})
        shown = {"limit": page.limit, "offset": page.offset, "count": len(messages)}
        return Answer(200, {"session_id": session_id, "messages": messages, **shown})

    # --- settings -----------------------------------------------------------------------------------------------

    async def _config(self, asked: Asked) -> Answer:  # noqa: ARG002 - one signature
        settings = await asyncio.to_thread(self._house.settings)
        told: dict[str, Any] = {
            one.key: {"value": MASK if one.secret and one.value else one.value, "source": one.source}
            for one in settings
        }
        for name, value in self._changed.items():
            if self._house.current(name) == value:  # config.yml may have been read again since
                told[name] = {"value": value, "source": SOURCE}
        return Answer(200, told | {"changeable": {"value": list(FIELDS), "source": "Tom"}})

    async def _change(self, asked: Asked) -> Answer:
        given, value = read_change(asked.body)
        name = field_named(given)
        before = self._house.current(name)
        now = await self._house.change(name, value)
        self._changed[name] = now
        await self._record(asked, "config.changed", name, before, now)
        return Answer(200, {"field": name, "value": now, "before": before, "until": UNTIL})

    async def _restart(self, asked: Asked) -> Answer:
        self._house.restart()
        await self._record(asked, "restart", "", None, None)
        return Answer(202, {"status": "restarting"})

    async def _record(self, asked: Asked, kind: str, subject: str, before: Any, after: Any) -> None:
        await self._chain.append(kind, who=asked.who, source=asked.source, subject=subject, before=before, after=after)


def _told(entry: Entry) -> dict[str, Any]:
    expires = entry.expires_at
    return {
        "ip": entry.ip,
        "note": entry.note or None,
        "created_at": timestamp(entry.created_at),
        "expires_at": None if expires is None else timestamp(expires),
    }
