"""The services door: which tools there are, what has changed since it was pinned, and a person's review of both.

Reading is for the agent's person; reviewing for admins, and for whoever sits at this machine.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, chat_error, parse_body, read_body
from tom.agent.cell import Cell
from tom.conversation.tool import ToolClass
from tom.errors import CallerError, TomError
from tom.services.reviewing import Review, Reviewing

type Endpoint = Callable[[Request], Awaitable[Response]]

LARGEST: Final = 65_536
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
        return [
            Route("/services", _answered(self.list_services), methods=["GET"]),
            Route("/services/{name}/diff", _answered(self.get_differences), methods=["GET"]),
            Route("/services/{name}/review", _answered(self.review), methods=["POST"]),
        ]

    async def list_services(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """Every service with its tools: class, whether it is proposed, what is held, who has reviewed it."""
        return JsonAnswer({"services": await self._reviewing().overview()})

    async def get_differences(self, request: Request) -> Response:
        """What of one service differs from its pin, and the classes that nobody has confirmed."""
        return JsonAnswer(await self._reviewing().differences(request.path_params["name"]))

    async def review(self, request: Request) -> Response:
        """Pin tools as they are now and confirm their classes."""
        name = request.path_params["name"]
        by = self._reviewer(request.scope.get("tom.door", ""))
        review = read_review(parse_body(await read_body(request, LARGEST)))
        reviewed = await self._reviewing().review(name, review, by=by)
        return JsonAnswer({"service": name, "reviewed": reviewed})

    def _reviewing(self) -> Reviewing:
        toolbox = self._cell.toolbox
        if not isinstance(toolbox, Reviewing):
            raise NoReviews
        return toolbox

    def _reviewer(self, door: str) -> str:
        """Who reviews. Raises `ReviewNotAllowed`."""
        if door in {CONTROL, LOCAL}:
            return door
        if self._cell.settings.role != "admin":
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


def _answered(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    return answer
