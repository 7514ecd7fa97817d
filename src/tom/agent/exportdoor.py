"""Doors to what a person has used, and to their conversations written out; and to what retention would erase."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tom.agent import export
from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.guarding import caller_of, routes_of
from tom.agent.rest_faults import InvalidQuery
from tom.agent.visiting import session_of
from tom.clock import timestamp
from tom.conversation.event import Event
from tom.conversation.usage import MICRO
from tom.errors import CallerError, TomError
from tom.store.eventstore import ConversationRow, DayUsage

PAGE = 500
LONGEST = 366
"""Days of usage that are told at once."""

USUAL = 30

type Endpoint = Callable[[Request], Awaitable[Response]]


class OperatorOnly(CallerError):
    """Only the operator of this machine may see this."""

    code = "operator_only"
    http_status = 403


class ExportDoor:
    """Writes conversations out."""

    def __init__(self, cell: Cell) -> None:
        """Those of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            *routes_of(self._cell, {"exportSession": self.export}),
            Route("/history/retention", answered(self.retention), methods=["GET"]),
        ]

    async def export(self, request: Request) -> Response:
        """One conversation as an attachment; ``format``: ``json``, ``markdown`` or ``openai``."""
        wanted = request.query_params.get("format", "json")
        if wanted not in {"json", "markdown", "openai"}:
            message = "'format' must be one of: json, markdown, openai"
            raise InvalidQuery(message, "format")
        row, visitor = await session_of(self._cell, request), caller_of(request).visitor
        stretches, at = self._stretches(row), timestamp(self._cell.clock.now())
        match wanted:
            case "markdown":
                return _attachment(export.as_markdown(row, stretches), export.file_name(row, ".md"), "text/markdown")
            case "openai":
                pieces = export.as_openai(row, stretches, visitor=visitor)
                return _attachment(pieces, export.file_name(row, ".openai.json"), "application/json")
            case _:
                pieces = export.as_json(
                    row, stretches, self._cell.files.read, epoch=self._cell.store.epoch, at=at, visitor=visitor
                )
                return _attachment(pieces, export.file_name(row, ".json"), "application/json")

    async def _stretches(self, row: ConversationRow) -> AsyncIterator[Sequence[Event]]:
        """The events as they are now, a stretch at a time."""
        after = row.first_seq - 1
        while after < row.last_seq:
            limit = min(PAGE, row.last_seq - after)
            events = await self._cell.store.read(row.id, after=after, limit=limit)
            if not events:
                return
            after = events[-1].seq
            yield events

    async def retention(self, request: Request) -> Response:
        """What retention would erase now. For the operator's command line."""
        if request.scope.get("tom.door") not in {"control", "local"}:
            raise OperatorOnly
        settings = self._cell.settings.persistence
        limit = {
            "token_limit": settings.retention_tokens,
            "message_count": settings.retention_messages,
            "time_based": settings.retention_days,
        }.get(settings.retention)
        cuts = [
            {"session_id": cut.conversation_id, "first_seq": cut.first_seq, "events": cut.events}
            for cut in await self._cell.upkeep.retention.plan()
        ]
        return JsonAnswer({"policy": settings.retention, "limit": limit, "sessions": cuts})


class UsageDoor:
    """Says what one person has used, and what they may use."""

    def __init__(self, cell: Cell) -> None:
        """Of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return routes_of(self._cell, {"getUsage": self.usage})

    async def usage(self, request: Request) -> Response:
        """The days from ``from`` to ``to`` (UTC, both included; the last thirty unless given)."""
        today = self._cell.clock.now().astimezone(UTC).date()
        last = _day(request, "to", today)
        first = _day(request, "from", last - min(timedelta(days=USUAL - 1), last - date.min))
        if not 0 <= (last - first).days < LONGEST:
            message = f"'from' must not be after 'to', nor more than {LONGEST} days before it"
            raise InvalidQuery(message, "from")
        days = await self._cell.store.spent(since=first.isoformat(), until=last.isoformat())
        now = await self._cell.store.spent(since=today.isoformat(), until=today.isoformat())
        return JsonAnswer({"usage": [_told(day) for day in days], "limits": self._limits(now, today)})

    def _limits(self, now: Sequence[DayUsage], today: date) -> list[dict[str, Any]]:
        limits = self._cell.settings.limits
        tomorrow = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
        cost, tokens = (now[0].usage.cost / MICRO, now[0].usage.total_tokens) if now else (0.0, 0)
        return [
            {"name": "user.cost_per_day", "limit": limits.cost_per_day, "used": cost, "resets_at": timestamp(tomorrow)},
            {
                "name": "user.tokens_per_day",
                "limit": limits.tokens_per_day,
                "used": tokens,
                "resets_at": timestamp(tomorrow),
            },
            {"name": "run.cost", "limit": limits.cost_per_run, "used": None, "resets_at": None},
        ]


def answered(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its errors in the chat page's shape."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    return answer


def _attachment(pieces: AsyncIterator[str], name: str, kind: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_joined(pieces), media_type=f"{kind}; charset=utf-8", headers=headers)


async def _joined(pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """The pieces in chunks worth sending."""
    held: list[str] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= 65_536:
            yield "".join(held).encode(errors="replace")
            held, size = [], 0
    yield "".join(held).encode(errors="replace")


def _told(day: DayUsage) -> dict[str, Any]:
    usage = day.usage
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    told: dict[str, Any] = {"day": day.day, **counts, "runs": day.runs}
    return told | ({"cost": usage.cost / MICRO} if usage.cost else {})


def _day(request: Request, name: str, default: date) -> date:
    given = request.query_params.get(name)
    if given is None:
        return default
    message = f"'{name}' must be a day such as 2026-01-31"
    if len(given) != len("2026-01-31"):  # other forms of ISO 8601 are days, too, but not ours
        raise InvalidQuery(message, name)
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise InvalidQuery(message, name) from None
