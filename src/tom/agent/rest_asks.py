"""The REST door's asks and shelves: approvals, questions of services, prompts, resources."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, chat_error, parse_body, read_body
from tom.agent.cell import Cell
from tom.agent.decisions import ANSWER_KEYS, DECISION_KEYS, Unfit, check_keys, read_answer, read_decision
from tom.agent.device import device_of
from tom.errors import ApprovalNotFound, CallerError, ElicitationNotFound, TomError
from tom.services.library import PromptEntry, ResourceEntry

MAX_BODY = 1_048_576
LONGEST_QUERY = 200
CONTROL = "control"

type Endpoint = Callable[[Request], Awaitable[Response]]


class InvalidBody(CallerError):
    """Request validation failed."""

    code = "validation_error"


class InvalidJsonBody(CallerError):
    """Request body is not valid JSON."""

    code = "invalid_json"
    http_status = 400


class UnsupportedMediaType(CallerError):
    """Send application/json."""

    code = "unsupported_media_type"
    http_status = 415


class OwnerOnly(CallerError):
    """Only the person who is asked can answer."""

    code = "scope_missing"
    http_status = 403


class AsksDoor:
    """Shows one person what waits for them, and takes their answers."""

    def __init__(self, cell: Cell) -> None:
        """Serve from ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/approvals", _answered(self.list_approvals), methods=["GET"]),
            Route("/approvals/{ask_id}", _answered(self.answer_approval), methods=["POST"]),
            Route("/elicitations", _answered(self.list_elicitations), methods=["GET"]),
            Route("/elicitations/{ask_id}", _answered(self.answer_elicitation), methods=["POST"]),
            Route("/prompts", _answered(self.list_prompts), methods=["GET"]),
            Route("/resources", _answered(self.list_resources), methods=["GET"]),
        ]

    # --- asks --------------------------------------------------------------------------------------------------

    async def list_approvals(self, request: Request) -> Response:
        """The open approvals, oldest first."""
        return JsonAnswer({"approvals": await self._pending(request, "approval_id")})

    async def list_elicitations(self, request: Request) -> Response:
        """The open questions of services, oldest first."""
        return JsonAnswer({"elicitations": await self._pending(request, "elicitation_id")})

    async def answer_approval(self, request: Request) -> Response:
        """Record the person's word on an approval: first answer wins."""
        given = await _body(request, DECISION_KEYS)
        word = _fitting(lambda: read_decision(given))
        recorded = await self._cell.approvals.decide(
            _ask_id(request, ApprovalNotFound),
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
        given = await _body(request, ANSWER_KEYS)
        answer = _fitting(lambda: read_answer(given))
        recorded = await self._cell.approvals.reply(
            _ask_id(request, ElicitationNotFound), answer, by=self._cell.settings.user, device=_device(request)
        )
        return JsonAnswer(recorded)

    async def _pending(self, request: Request, kind: str) -> list[Mapping[str, Any]]:
        found = [asked for asked in await self._cell.approvals.pending() if kind in asked]
        if request.scope.get("tom.door") == CONTROL:  # the operator of the house sees that somebody is asked, not what
            return [{key: value for key, value in asked.items() if key not in _CONTENTS} for asked in found]
        return list(found)

    # --- shelves -----------------------------------------------------------------------------------------------

    async def list_prompts(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """The prompts of all services that can be reached."""
        return JsonAnswer({"prompts": [_prompt(entry) for entry in await self._cell.library.prompts()]})

    async def list_resources(self, request: Request) -> Response:
        """The resources whose name, title, description or URI contain ``q``."""
        query = request.query_params.get("q", "")
        if len(query) > LONGEST_QUERY:
            raise _invalid(Unfit("q", f"longer than {LONGEST_QUERY} characters"), "query")
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


def _answered(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    return answer


async def _body(request: Request, known: frozenset[str]) -> Mapping[str, Any]:
    """The body: its size, its JSON and its keys checked in this order."""
    if request.scope.get("tom.door") == CONTROL:
        raise OwnerOnly
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    body = await read_body(request, MAX_BODY)
    value = parse_body(body) if body.strip() else None
    if not isinstance(value, dict):
        raise InvalidJsonBody
    given = cast("dict[str, Any]", value)
    _fitting(lambda: check_keys(given, known))
    return given


def _fitting[T](read: Callable[[], T]) -> T:
    try:
        return read()
    except Unfit as unfit:
        raise _invalid(unfit, "body") from None


def _invalid(unfit: Unfit, place: str) -> InvalidBody:
    error = {"loc": [place, unfit.field[:128]], "msg": unfit.problem, "type": unfit.kind}
    return InvalidBody(f"Request validation failed: {unfit.field[:128]}: {unfit.problem}", errors=[error])


def _ask_id(request: Request, missing: type[CallerError]) -> str:
    ask_id = str(request.path_params["ask_id"])
    if len(ask_id) > 128 or not ask_id.isascii() or not ask_id.isprintable():
        raise missing
    return ask_id


def _device(request: Request) -> str:
    return device_of(request.headers.get("user-agent", ""))
