"""The services door: which tools there are, what has changed since it was pinned, and a person's review of both.

Reading is for the agent's person; reviewing for admins, and for whoever sits at this machine.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer
from tom.agent.cell import Cell
from tom.agent.guarding import caller_of, json_body, routes_of
from tom.conversation.tool import ToolClass
from tom.errors import CallerError
from tom.policy.permissions import Caller, Scope
from tom.services.reviewing import Review, Reviewing

CONTROL, LOCAL = "control", "local"
_FIELDS: Final = frozenset({"accept", "tools", "class", "outward", "honours_key"})


class ReviewNotAllowed(CallerError):
    """Only an admin may review tools."""

    code = "role_not_allowed"
    http_status = 403


class InvalidReview(CallerError):
    """The review cannot be read."""

    code = "validation_error"
    http_status = 422

    def __init__(self, message: str) -> None:
        """``message`` is the field, a colon, and what is wrong with it."""
        field, _, problem = message.rpartition(": ")
        place = ["body", *field.split(".", 1)] if field else ["body"]
        super().__init__(message, errors=[{"loc": place, "msg": problem, "type": "value_error"}])


class NoReviews(CallerError):
    """This agent's tools are not reviewed."""

    code = "not_found"
    http_status = 404


class ServicesDoor:
    """Shows tools and takes reviews."""

    def __init__(self, cell: Cell) -> None:
        """Of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        endpoints = {
            "listServices": self.list_services,
            "diffService": self.get_differences,
            "reviewService": self.review,
        }
        return routes_of(self._cell, endpoints)

    async def list_services(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """Every service with its tools: class, whether it is proposed, what is held, who has reviewed it."""
        return JsonAnswer({"services": await self._reviewing().overview()})

    async def get_differences(self, request: Request) -> Response:
        """What of one service differs from its pin, and the classes that nobody has confirmed."""
        return JsonAnswer(await self._reviewing().differences(request.path_params["name"]))

    async def review(self, request: Request) -> Response:
        """Pin tools as they are now and confirm their classes."""
        name = request.path_params["name"]
        by = self._reviewer(caller_of(request))
        review = read_review(await json_body(request))
        reviewed = await self._reviewing().review(name, review, by=by)
        return JsonAnswer({"service": name, "reviewed": reviewed})

    def _reviewing(self) -> Reviewing:
        toolbox = self._cell.toolbox
        if not isinstance(toolbox, Reviewing):
            raise NoReviews
        return toolbox

    def _reviewer(self, caller: Caller) -> str:
        """Who reviews. Raises `ReviewNotAllowed`, also for a token of an admin that is not one for administration."""
        if caller.door in {CONTROL, LOCAL}:
            return caller.door
        if self._cell.settings.role != "admin" or not caller.may(Scope.ADMIN):
            raise ReviewNotAllowed
        return self._cell.settings.user


def read_review(body: Any) -> Review:
    """The review that a body asks for. Raises `InvalidReview` naming the field."""
    if not isinstance(body, dict):
        raise InvalidReview("The body must be a JSON object")
    given = cast("dict[str, Any]", body)
    for name in sorted(set(given) - _FIELDS):
        raise InvalidReview(f"{name}: unknown field")
    if given.get("accept") is not True:
        raise InvalidReview("accept: must be true")
    classes = {tool: _class(tool, value) for tool, value in _mapping(given, "class").items()}
    return Review(
        tools=_tools(given.get("tools")),
        classes=classes,
        outward=_flags(given, "outward"),
        honours_key=_flags(given, "honours_key"),
    )


def _tools(value: Any) -> Mapping[str, str]:
    """A list of names, or a mapping of names to the hashes that were looked at."""
    if value is None:
        return {}
    if isinstance(value, list):
        value = dict.fromkeys(cast("list[str]", value), "") if _all_text(cast("list[Any]", value)) else None
    if isinstance(value, dict):
        seen = cast("dict[str, Any]", value)
        if _all_text(list(seen.values())):
            return seen
    raise InvalidReview("tools: must be a list of names, or names with the hashes that were looked at")


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _mapping(given: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = given.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidReview(f"{field}: must be a mapping of tools")
    return cast("dict[str, Any]", value)


def _flags(given: Mapping[str, Any], field: str) -> Mapping[str, bool]:
    flags = _mapping(given, field)
    for tool, value in flags.items():
        if not isinstance(value, bool):
            raise InvalidReview(f"{field}.{tool}: must be true or false")
    return flags


def _class(tool: str, value: Any) -> ToolClass:
    try:
        return ToolClass(value)
    except ValueError:
        raise InvalidReview(f"class.{tool}: must be one of {', '.join(ToolClass)}") from None
