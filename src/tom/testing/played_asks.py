"""What a played house asks of its person: approvals, questions of services, and what is said to the answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tom import ids
from tom.agent.asks import ask_object
from tom.conversation import asks
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import Event, EventType
from tom.conversation.label import Label
from tom.conversation.tool import ToolClass, ToolDefinition

LATER = "2099-01-01T12:00:00.000Z"

_ASKED = {EventType.APPROVAL_REQUESTED, EventType.ELICITATION_REQUESTED}
_ENDS = {"run.completed", "run.failed", "run.cancelled"}


class PlayedAsks:
    """Asks, takes answers as the documented routes do, and refuses what it is told to refuse."""

    def __init__(self, events: Mapping[str, Sequence[Event]], append: Callable[[Event], Any]) -> None:
        """``events`` by conversation; ``append`` stores one and is awaited inside the loop."""
        self._events = events
        self._append = append
        self.answers: list[tuple[str, dict[str, Any]]] = []
        """What was posted: (ask id, body)."""
        self.refusal: tuple[int, str, str, dict[str, Any]] | None = None
        """Refuse the next answers: status, code, message, details."""
        self.prompts: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, Any]] = {}
        """Files by their name: what the route answers."""
        self.resources: list[dict[str, Any]] = []

    def approval(
        self,
        cid: str,
        run: str,
        call_id: str,
        arguments: Mapping[str, Any],
        *,
        tool: str = "delete_note",
        tool_class: ToolClass = ToolClass.DESTRUCTIVE,
        sources: Sequence[str] = (),
        reason: str = "It may destroy something.",
        may_remember: bool = False,
        expires_at: str | None = LATER,
    ) -> Event:
        """The event that asks for one call of the service `notes`."""
        definition = ToolDefinition(tool, "notes", tool, "", {}, tool_class=tool_class, pin="sha256:pin")
        return asks.approval_requested(
            cid, run_id=run, turn=0, call_id=call_id, approval_id=ids.ulid(), tool=definition, arguments=arguments,
            digest="sha256:0123456789abcdef", reason=reason, label=Label(frozenset(sources)), expires_at=expires_at,
            may_remember=may_remember,
        )  # fmt: skip

    def question(self, cid: str, run: str, call_id: str, question: Elicitation) -> Event:
        """The event by which the service `travel` asks its person."""
        return asks.elicitation_requested(
            cid, run_id=run, turn=0, call_id=call_id, elicitation_id=ids.ulid(), service="travel", question=question,
            expires_at=LATER,
        )  # fmt: skip

    def open(self) -> list[Event]:
        """The asks that nobody has answered and whose run goes on."""
        found = {id_of(event): event for event in self._all() if event.type in _ASKED}
        for event in self._all():
            if str(event.type).endswith(".answered"):
                found.pop(id_of(event), None)
            elif event.type in _ENDS:
                found = {name: asked for name, asked in found.items() if asked.run_id != event.run_id}
        return list(found.values())

    def routes(self) -> list[BaseRoute]:
        """The documented routes."""
        return [
            Route("/approvals", self._list),
            Route("/elicitations", self._list),
            Route("/approvals/{id}", self._decide, methods=["POST"]),
            Route("/elicitations/{id}", self._reply, methods=["POST"]),
            Route("/prompts", self._prompts),
            Route("/sessions/{id}/files/{file}", self._file),
            Route("/resources", self._resources),
        ]

    def _all(self) -> list[Event]:
        return [event for events in self._events.values() for event in events]

    async def _list(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        shown = [ask_object(asked) for asked in self.open()]
        return JSONResponse({name: [one for one in shown if f"{name.removesuffix('s')}_id" in one]})

    async def _decide(self, request: Request) -> Response:
        asked, body, refused = await self._given(request)
        if refused is not None or asked is None:
            return refused or _refused(404, "approval_not_found", "There is no such ask.", {})
        answered = asks.approval_answered(
            asked, decision=body["decision"], by="alice", device="Chrome on Linux", arguments=body.get("arguments"),
            note=body.get("note", ""), remember=body.get("remember", "once"),
        )  # fmt: skip
        await self._append(answered)
        return JSONResponse({"approval_id": id_of(asked), "decision": body["decision"], "answered_at": LATER})

    async def _reply(self, request: Request) -> Response:
        asked, body, refused = await self._given(request)
        if refused is not None or asked is None:
            return refused or _refused(404, "elicitation_not_found", "There is no such question.", {})
        answer = ElicitationAnswer(body["outcome"], body.get("content", {}))
        await self._append(asks.elicitation_answered(asked, answer, by="alice"))
        return JSONResponse({"elicitation_id": id_of(asked), "outcome": answer.outcome, "answered_at": LATER})

    async def _given(self, request: Request) -> tuple[Event | None, dict[str, Any], Response | None]:
        body: dict[str, Any] = await request.json()
        wanted = request.path_params["id"]
        self.answers.append((wanted, body))
        refused = _refused(*self.refusal) if self.refusal is not None else None
        return next((event for event in self.open() if id_of(event) == wanted), None), body, refused

    async def _file(self, request: Request) -> Response:
        found = self.files.get(request.path_params["file"])
        return JSONResponse(found) if found else _refused(404, "not_found", "There is no such file.", {})

    async def _prompts(self, _request: Request) -> Response:
        return JSONResponse({"prompts": self.prompts})

    async def _resources(self, request: Request) -> Response:
        words = request.query_params.get("q", "")
        return JSONResponse({"resources": [one for one in self.resources if words in one["name"]]})


def id_of(event: Event) -> str:
    """The id of the ask that an event opens or answers."""
    return event.extra.get("approval_id") or event.extra.get("elicitation_id", "")


def _refused(status: int, code: str, message: str, details: Mapping[str, Any]) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "details": dict(details)}}, status)
