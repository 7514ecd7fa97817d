"""The operator's door to the archive: how far it is behind, fill it again, compare it with the store."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer
from tom.agent.cell import Cell
from tom.agent.exportdoor import OperatorOnly, answered
from tom.agent.guarding import caller_of
from tom.agent.learning import UPKEEP
from tom.agent.mirroring import Mirroring
from tom.agent.mirrorwords import Difference, archived_sessions, compare, compare_sessions
from tom.archive.archive import ArchiveUnavailable
from tom.errors import CallerError
from tom.store.eventstore import ConversationRow

SOME = 20
"""Conversations that are compared in one request."""

ALL = 500
SETTLE_SECONDS = 10.0
OPERATORS = frozenset({"control", "local"})


class ArchiveNotConfigured(CallerError):
    """No archive is configured (HISTORY_STORAGE_BACKEND)."""

    code = "archive_not_configured"
    http_status = 409


class ArchiveDoor:
    """``/archive``: for the command line of this machine's operator."""

    def __init__(self, cell: Cell) -> None:
        """The archive of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/archive", answered(self.status), methods=["GET"]),
            Route("/archive/rebuild", answered(self.rebuild), methods=["POST"]),
            Route("/archive/verify", answered(self.verify), methods=["POST"]),
        ]

    async def status(self, request: Request) -> Response:
        """How far it is behind, and what is parked."""
        _check(request)
        if self._cell.mirror is None:
            return JsonAnswer({"backend": "none", "state": "none"})
        return JsonAnswer(await self._cell.mirror.status())

    async def rebuild(self, request: Request) -> Response:
        """Queue everything again; the archive is told in the background."""
        _check(request)
        return JsonAnswer({"waiting": await self._mirror().rebuild()}, 202)

    async def verify(self, request: Request) -> Response:
        """Compare some conversations, from ``?after=`` on; the first time also which sessions there are.

        What could still be told is told first. 503 ``archive_unavailable`` when it cannot be.
        """
        _check(request)
        mirror = self._mirror()
        await _settle(mirror)
        after = request.query_params.get("after") or ""
        found: list[Difference] = [] if after else await self._compare_sessions(mirror)
        ids = await mirror.conversation_ids(after=after, limit=SOME)
        rows = await self._cell.store.conversations(ids=ids, limit=SOME)
        messages = 0
        shown = [row for row in rows if row.surface != UPKEEP]
        for row in shown:
            count, differences = await self._compare(mirror, row)
            messages += count
            found += differences
        last = ids[-1] if len(ids) == SOME else None
        told: dict[str, Any] = {"sessions": len(shown), "messages": messages, "next": last}
        return JsonAnswer({**told, "differences": [asdict(difference) for difference in found]})

    async def _compare(self, mirror: Mirroring, row: ConversationRow) -> tuple[int, Sequence[Difference]]:
        """One conversation; where it was used meanwhile, it is looked at once more."""
        ways = {"shared": self._shared()}
        count, found = await compare(self._cell.store, mirror.archive, row, mirror.rules, **ways)
        if found:
            await _settle(mirror)
            for now in await self._cell.store.conversations(ids=[row.id]):
                return await compare(self._cell.store, mirror.archive, now, mirror.rules, **ways)
            return 0, ()
        return count, found

    async def _compare_sessions(self, mirror: Mirroring) -> list[Difference]:
        there = await archived_sessions(mirror.archive)
        found: list[Difference] = []
        after = ""
        while ids := await mirror.conversation_ids(after=after, limit=ALL):
            after = ids[-1]
            rows = await self._cell.store.conversations(ids=ids, limit=ALL)
            found += compare_sessions((row for row in rows if row.surface != UPKEEP), there, shared=self._shared())
            for row in rows:
                there.pop(row.id, None)
        for session_id in sorted(there if not self._shared() else ()):
            if not await self._cell.store.conversations(ids=[session_id]):
                found.append(Difference(session_id, 0, "only in the archive"))
        return found

    def _shared(self) -> bool:
        """Whether other agents may have told the archive of the same conversations."""
        settings = self._cell.settings
        return bool(settings.doors.redis.url) and not settings.agent_secret

    def _mirror(self) -> Mirroring:
        if self._cell.mirror is None:
            raise ArchiveNotConfigured
        return self._cell.mirror


def _check(request: Request) -> None:
    if caller_of(request).door not in OPERATORS:
        raise OperatorOnly


async def _settle(mirror: Mirroring) -> None:
    if not await mirror.flush(SETTLE_SECONDS):
        state = mirror.state()
        raise ArchiveUnavailable(state["reason"] or f"The archive is still being told: {state['waiting']} entries wait")
