"""The REST door's asks and shelves: approvals, questions of services, prompts, resources."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer
from tom.agent.cell import Cell
from tom.agent.decisions import ANSWER_KEYS, DECISION_KEYS, Unfit, check_keys, read_answer, read_decision
from tom.agent.device import device_of
from tom.agent.guarding import caller_of, json_body, routes_of
from tom.agent.rest_faults import fitting, invalid
from tom.errors import ApprovalNotFound, CallerError, ElicitationNotFound
from tom.services.library import PromptEntry, ResourceEntry

LONGEST_QUERY = 200
CONTROL = "control"


class OwnerOnly(CallerError):
    """Only the person who is asked can answer."""

    code = "scope_missing"
    http_status = 403


class AsksDoor:
    """Shows one person what waits for them, and takes their answers."""

    def __init__(self, cell: Cell, *, alone: bool = False) -> None:
        """Serve from ``cell``; the operator of an agent ``alone`` is its person."""
        self._cell = cell
        self._alone = alone

    def routes(self) -> list[Route]:
        """The routes of this door."""
        endpoints = {
            "listApprovals": self.list_approvals,
            "answerApproval": self.answer_approval,
            "listElicitations": self.list_elicitations,
            "answerElicitation": self.answer_elicitation,
            "listPrompts": self.list_prompts,
            "listResources": self.list_resources,
        }
        return routes_of(self._cell, endpoints)

    # --- asks --------------------------------------------------------------------------------------------------

    async def list_approvals(self, request: Request) -> Response:
        """The open approvals, oldest first."""
        return JsonAnswer({"approvals": await self._pending(request, "approval_id")})

    async def list_elicitations(self, request: Request) -> Response:
        """The open questions of services, oldest first."""
        return JsonAnswer({"elicitations": await self._pending(request, "elicitation_id")})

    async def answer_approval(self, request: Request) -> Response:
        """Record the person's word on an approval: first answer wins."""
        given = await self._body(request, DECISION_KEYS)
        if caller_of(request).visitor:  # nobody asks them anything
            raise ApprovalNotFound
        word = fitting(lambda: read_decision(given))
        recorded = await self._cell.approvals.decide(
            _ask_id(request, "approval_id", ApprovalNotFound),
            word.decision,
            digest=word.digest,
            arguments=word.arguments,
            note=word.note,
            remember=word.remember,
            by=self._cell.settings.user,
            device=_device(request),
        )
        return JsonAnswer(recorded)

    async def answer_elicitation(self, request: Request) -> Response:
        """Record the person's answer to a question of a service."""
        given = await self._body(request, ANSWER_KEYS)
        if caller_of(request).visitor:
            raise ElicitationNotFound
        answer = fitting(lambda: read_answer(given))
        recorded = await self._cell.approvals.reply(
            _ask_id(request, "elicitation_id", ElicitationNotFound),
            answer,
            by=self._cell.settings.user,
            device=_device(request),
        )
        return JsonAnswer(recorded)

    async def _pending(self, request: Request, kind: str) -> list[Mapping[str, Any]]:
        found = [asked for asked in await self._cell.approvals.pending() if kind in asked]
        if self._by_operator(request):  # of the house: they see that somebody is asked, not what
            return [{key: value for key, value in asked.items() if key not in _CONTENTS} for asked in found]
        return list(found)

    async def _body(self, request: Request, known: frozenset[str]) -> Mapping[str, Any]:
        """The body: its size, its JSON and its keys checked in this order."""
        if self._by_operator(request):
            raise OwnerOnly
        given = await json_body(request)
        fitting(lambda: check_keys(given, known))
        return given

    def _by_operator(self, request: Request) -> bool:
        """Whether somebody else than the person asks: the operator of a house with several."""
        return not self._alone and request.scope.get("tom.door") == CONTROL

    # --- shelves -----------------------------------------------------------------------------------------------

    async def list_prompts(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """The prompts of all services that can be reached."""
        return JsonAnswer({"prompts": [_prompt(entry) for entry in await self._cell.library.prompts()]})

    async def list_resources(self, request: Request) -> Response:
        """The resources whose name, title, description or URI contain ``q``."""
        query = request.query_params.get("q", "")
        if len(query) > LONGEST_QUERY:
            raise invalid(Unfit("q", f"longer than {LONGEST_QUERY} characters"), "query")
        entries = await self._cell.library.resources(query=query)
        return JsonAnswer({"resources": [_resource(entry) for entry in entries]})


_CONTENTS = frozenset({"arguments", "sources", "message", "schema", "url"})


def _prompt(entry: PromptEntry) -> dict[str, Any]:
    return {
        "service": entry.service,
        "name": entry.name,
        "title": entry.title,
        "description": entry.description,
        "arguments": [
            {"name": name, "description": description, "required": required}
            for name, (description, required) in entry.arguments.items()
        ],
        "prompt": entry.prompt,
    }


def _resource(entry: ResourceEntry) -> dict[str, Any]:
    return {
        "service": entry.service,
        "uri": entry.uri,
        "name": entry.name,
        "mime_type": entry.mime_type,
        "title": entry.title,
        "description": entry.description,
        "size": entry.size,
        "template": "{" in entry.uri,
    }


def _ask_id(request: Request, name: str, missing: type[CallerError]) -> str:
    ask_id = str(request.path_params[name])
    if len(ask_id) > 128 or not ask_id.isascii() or not ask_id.isprintable():
        raise missing
    return ask_id


def _device(request: Request) -> str:
    return device_of(request.headers.get("user-agent", ""))
