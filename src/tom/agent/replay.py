"""Replaying triage: cases with an expected choice, asked of the real triage, and how often it was right.

A door for the operator only (``tom triage replay``): it costs one small model call per case.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, parse_body, read_body, tom_error
from tom.agent.cell import Cell
from tom.agent.prompt import Circumstances, system_text, temporal_message
from tom.agent.triage import Decision, Question
from tom.conversation import message as make
from tom.errors import TomError

MAX_BODY = 1_048_576
MOST = 200
"""Cases of one request."""

OPERATORS = frozenset({"control", "local"})
AT_ONCE = 4
LONGEST = 20_000


class ReplayDoor:
    """Serves ``POST /triage/replay`` to the control socket."""

    def __init__(self, cell: Cell) -> None:
        """Ask the triage of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [Route("/triage/replay", self.replay, methods=["POST"])]

    async def replay(self, request: Request) -> Response:
        """``{"cases": [{"text", "services"?, "previous"?}]}`` → the decision for each, in order."""
        if request.scope.get("tom.door") not in OPERATORS:
            return tom_error("Not found", 404)
        try:
            body: Any = parse_body(await read_body(request, MAX_BODY))
        except TomError as error:
            return tom_error(error.message, error.http_status)
        given: Any = cast("dict[str, Any]", body).get("cases") if isinstance(body, dict) else None
        if not isinstance(given, list) or len(cast("list[Any]", given)) > MOST:
            return tom_error(f"'cases' must be a list of at most {MOST}", 400)
        texts = [_text_of(case) for case in cast("list[Any]", given)]
        if any(text is None for text in texts):
            return tom_error("every case needs a 'text'", 400)
        places = asyncio.Semaphore(AT_ONCE)

        async def one(text: str) -> Decision:
            async with places:
                return await self._decide(text)

        decisions = await asyncio.gather(*(one(text) for text in texts if text is not None))
        enabled = sorted(self._cell.preparing.entries)
        return JsonAnswer({"services": enabled, "decisions": [self._shown(decision) for decision in decisions]})

    async def _decide(self, text: str) -> Decision:
        cell = self._cell
        question = Question(
            text=text,
            standing=system_text(cell.settings, "web"),
            names=tuple(cell.preparing.entries),
            window=(make.user(text),),
            helpers=(temporal_message(cell.settings, Circumstances("web"), cell.clock.now()),),
        )
        return await cell.preparing.triage.decide(question)

    def _shown(self, decision: Decision) -> Mapping[str, Any]:
        return {
            "services": sorted(decision.services),
            "level": self._cell.preparing.level_of(decision),
            "how": decision.how,
            "reason": decision.reason,
            "fresh_start": decision.fresh_start,
            "ms": decision.ms,
        }


def _text_of(case: Any) -> str | None:
    text: Any = cast("dict[str, Any]", case).get("text") if isinstance(case, dict) else None
    return text if isinstance(text, str) and 0 < len(text) <= LONGEST else None
