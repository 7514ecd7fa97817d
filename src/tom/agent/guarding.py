"""What stands before every endpoint of the chat door, in the contract's order: scope, rate, size and kind of the body.

Host, origin and credential were looked at before (`app.py`); schema, existence and ownership are the endpoint's.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import parse_body, problem, read_body
from tom.agent.recorded import run_of
from tom.agent.tally import TOLD_FAILED_RUN
from tom.errors import InvalidJson, PayloadTooLarge, RateLimited, TomError, UnsupportedMediaType
from tom.openapi.operations import OPERATIONS, Operation
from tom.policy.permissions import Caller
from tom.telemetry.refusals import tell_refusal

if TYPE_CHECKING:
    from tom.agent.cell import Cell

type Endpoint = Callable[[Request], Awaitable[Response]]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def routes_of(cell: "Cell", endpoints: Mapping[str, Endpoint]) -> list[Route]:
    """The routes of these operations (by name), each behind its guard. KeyError for a name that is in no row."""
    rows = {operation.name: operation for operation in OPERATIONS}
    return [
        Route(rows[name].path, guarded(cell, rows[name], endpoint), methods=[rows[name].method], name=name)
        for name, endpoint in endpoints.items()
    ]


def guarded(cell: "Cell", operation: Operation, endpoint: Endpoint) -> Endpoint:
    """The endpoint as one operation: who may not is refused, and errors are worded in the operation's dialect."""

    async def answer(request: Request) -> Response:
        request.scope["tom.operation"] = operation
        try:
            caller = caller_of(request)
            operation.admit(caller)
            await cell.rates.admit(caller, operation)
            if operation.method in _WITH_BODY:
                _check_body(request, operation)
            return await endpoint(request)
        except TomError as error:
            tell_refusal(error, operation=operation.name)
            if run_id := run_of(error):
                request.scope[TOLD_FAILED_RUN] = run_id
            if cell.metrics is not None and isinstance(error, RateLimited):
                cell.metrics.rate_limited()
            return problem(error, request.scope["tom.request_id"], operation.dialect)

    return answer


def caller_of(request: Request) -> Caller:
    """Who is calling, as the door found out."""
    return request.scope["tom.caller"]


async def json_body(request: Request, operation: Operation | None = None) -> dict[str, Any]:
    """The JSON object of the body, nothing at all being an empty one.

    Raises `PayloadTooLarge`, `InvalidJson` (also for another JSON value, duplicate keys and what nests too deep).
    """
    row: Operation = operation or request.scope["tom.operation"]
    body = await read_body(request, row.limit)
    if not body.strip():
        return {}
    value = parse_body(body)
    if not isinstance(value, dict):
        message = "The request body must be a JSON object"
        raise InvalidJson(message)
    return cast("dict[str, Any]", value)


def _check_body(request: Request, operation: Operation) -> None:
    """Refuse by the headers what need not be read."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > operation.limit:
        raise PayloadTooLarge(limit=operation.limit)
    has_body = declared != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        raise UnsupportedMediaType
