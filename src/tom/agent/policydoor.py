"""The policy door: what would become of a call of one tool, in every situation. Nothing is called.

It stands on the agent, because only the agent sees the tools as they really are: their class, pin, and whether they are
held.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.strictjson import parse_json
from tom.clock import timestamp
from tom.conversation.tool import ToolDefinition
from tom.errors import CallerError, ServiceUnavailable, TomError, ToolAmbiguous
from tom.policy.explanation import SITUATIONS, Explained, explain
from tom.policy.verdict import Answer, Person, Verdict
from tom.services.toolbox import ToolList

LONGEST_ARGUMENTS: Final = 16_384


class NoSuchTool(CallerError):
    """None of the services has this tool."""

    code = "not_found"
    http_status = 404


class InvalidArgumentsGiven(CallerError):
    """The arguments cannot be read."""

    code = "validation_error"
    http_status = 422


class PolicyDoor:
    """Explains verdicts."""

    def __init__(self, cell: Cell) -> None:
        """Of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [Route("/policy/explain", self.explain, methods=["GET"])]

    async def explain(self, request: Request) -> Response:
        """The verdicts on ``tool`` (``service.tool``, or a name that only one service has), with ``arguments`` in JSON."""
        try:
            wanted = request.query_params.get("tool", "")
            arguments = _arguments(request.query_params.get("arguments", ""))
            return JsonAnswer(await self._explained(wanted, arguments))
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    async def _explained(self, wanted: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        settings = self._cell.settings
        service = wanted.partition(".")[0]
        offered = await self._cell.toolbox.tools({service} if service in self._cell.services else None)
        heading = {"tool": wanted, "user": settings.user, "groups": settings.groups}
        held = offered.held.get(wanted)
        if held is not None:
            verdict = Verdict(Answer.DENY, f"It is off: {held}.", "tool_changed")
            return heading | {"held": held, "situations": [_told(Explained(name, verdict)) for name in SITUATIONS]}
        tool = _named(offered, wanted)
        found = explain(
            tool,
            Person(settings.user, settings.groups),
            settings.policy.rules,
            now=timestamp(self._cell.clock.now()),
            proposals=settings.policy.proposals,
            arguments=arguments,
        )
        return heading | _described(tool) | {"held": None, "situations": [_told(one) for one in found]}


def _arguments(text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    if len(text) > LONGEST_ARGUMENTS:
        raise InvalidArgumentsGiven(f"arguments: longer than {LONGEST_ARGUMENTS} characters")
    try:
        found = parse_json(text)
    except ValueError as error:
        raise InvalidArgumentsGiven(f"arguments: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentsGiven("arguments: must be a JSON object")
    return cast("dict[str, Any]", found)


def _named(offered: ToolList, wanted: str) -> ToolDefinition:
    """The tool of that full name, or the only one of that bare name. Raises `NoSuchTool` with the nearest."""
    full = [tool for tool in offered.tools if tool.full_name == wanted]
    found = full or [tool for tool in offered.tools if wanted in {tool.tool, tool.name}]
    if len(found) == 1:
        return found[0]
    names = sorted(tool.full_name for tool in found or offered.tools)
    if found:
        raise ToolAmbiguous(f"Several services have a tool {wanted!r}: {', '.join(names)}")
    service = wanted.partition(".")[0]
    if service in offered.unavailable:
        raise ServiceUnavailable(f"Service {service!r} is not reachable: {offered.unavailable[service]}")
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    raise NoSuchTool(f"There is no tool {wanted!r}" + (f"; near: {', '.join(near)}" if near else ""))


def _described(tool: ToolDefinition) -> dict[str, Any]:
    return {
        "tool": tool.full_name,
        "class": str(tool.tool_class),
        "proposed": tool.proposed,
        "outward": tool.outward,
        "honours_key": tool.honours_key,
        "trusted": tool.trusted,
        "pin": tool.pin,
    }


def _told(one: Explained) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "situation": one.situation,
        "verdict": str(verdict.answer),
        "reason": verdict.reason,
        "ground": verdict.ground,
        "rule": verdict.rule or None,
        "may_remember": verdict.may_remember,
    }
