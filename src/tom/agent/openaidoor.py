"""The OpenAI-compatible door: ``/v1/models`` and ``/v1/chat/completions``, with Tom's own tools and memory behind it.

A call is a run like any other, under the same policy. Without a conversation it stands for itself: it lives in a
conversation of kind ``api`` that no list shows and that is erased after a while.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom import ids
from tom.agent.answering import JsonAnswer
from tom.agent.backlog import ReaderTooSlow
from tom.agent.cell import Cell
from tom.agent.conversations import Accepted
from tom.agent.expiring import KIND
from tom.agent.following import Following
from tom.agent.guarding import caller_of, guarded, json_body, routes_of
from tom.agent.lasting import to_the_end, until_left
from tom.agent.openai_answer import Outcome, Rendering, outcome_of, waiting
from tom.agent.openai_known import Known, known_of
from tom.agent.openai_messages import Said, invalid, newest_images
from tom.agent.openai_request import OWN_MODELS, Completion, read_completion
from tom.agent.openai_stream import CompletionStream
from tom.agent.options import choices_of
from tom.agent.permitted import check_reading
from tom.agent.prompt import Circumstances
from tom.agent.recorded import AnswerPending
from tom.agent.sse import EventStream, kept_alive
from tom.agent.submission import Submission, checked_id
from tom.agent.waiting import still_open
from tom.conversation.run import RunState
from tom.errors import CallerError, InvalidMessage, ModelHasNoVision, RequestIdReused, ShuttingDown
from tom.openapi.operations import operation
from tom.policy.permissions import Caller, Scope, require
from tom.store.eventstore import RunFilter

SURFACE = "api"
EVERYTHING = 2**62
READ_BACK = 2000
"""Events of a conversation in which is looked for what a client tells again."""

CONVERSATION_HEADER = "x-tom-conversation"
OF_THE_ANSWER = frozenset({"stream", "stream_options"})
"""Parameters that say how the answer is given; a repetition may wish for another way."""

BEHIND = "An earlier message of this conversation waits, and this one is queued behind it."

NOT_ASKED = "no reply before it asks for such a call"
TOLD_ALREADY = "what came of this call was told already"


class ModelNotFound(CallerError):
    """There is no such model."""

    code = "model_not_found"
    http_status = 404


class UnexpectedResult(CallerError):
    """The result of a call that nobody waits for."""

    code = "unexpected_result"
    http_status = 400


class OpenAIDoor:
    """Serves clients that speak OpenAI's chat completions."""

    def __init__(self, cell: Cell) -> None:
        """Speak for the person of ``cell``."""
        self._cell = cell
        self._choices = choices_of(cell.settings)
        self._created = int(cell.clock.now().timestamp())
        self._turnstiles: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def routes(self) -> list[Route]:
        """The routes of this door."""
        found = routes_of(self._cell, {"listModels": self.list_models, "createChatCompletion": self.create_completion})
        row = operation("GET", "/v1/models/{model}")
        one = guarded(self._cell, row, self.get_model)  # a model's name may have slashes
        return [*found, Route("/v1/models/{model:path}", one, methods=["GET"], name=row.name)]

    # --- models ------------------------------------------------------------------------------------------------

    async def list_models(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """Tom's own names, and the models that may be named."""
        return JsonAnswer({"object": "list", "data": [self._model(name) for name in self._models()]})

    async def get_model(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["model"]
        if name not in self._models():
            message = f"The model '{name[:256]}' does not exist."
            raise ModelNotFound(message, param="model")
        return JsonAnswer(self._model(name))

    def _models(self) -> tuple[str, ...]:
        models = self._choices.models
        if models is None:
            entry = self._cell.settings.llms.get(self._cell.settings.llm)
            models = entry.models if entry is not None else ()
        return tuple(dict.fromkeys((*OWN_MODELS, *models)))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "tom"}

    # --- completions -------------------------------------------------------------------------------------------

    async def create_completion(self, request: Request) -> Response:
        """Answer the newest message; see the module."""
        body = await json_body(request)
        asked = read_completion(body, self._choices, request.headers.get(CONVERSATION_HEADER))
        caller = caller_of(request)
        await self._check_conversation(asked.conversation_id, caller)
        # What was stored must be worked on: it is carried out to its end though its client is gone.
        following = await to_the_end(self._accept(asked, body, _key_of(request), caller))
        rendering = Rendering(following.accepted.run, asked.model, include_usage=asked.include_usage)
        answer = await self._answer(request, following, rendering, stream=asked.stream)
        answer.headers[CONVERSATION_HEADER] = following.accepted.run.conversation_id
        return answer

    async def _accept(self, asked: Completion, body: Mapping[str, Any], key: str, caller: Caller) -> Following:
        """Store what is new. Of two calls at once for one conversation the second knows what the first has told."""
        async with self._turnstile(asked.conversation_id or ids.ulid()):
            message = await self._submission(asked, body, key)
            check_reading(message, caller, self._choices.services)
            accepted = await self._cell.conversations.accept(message)
            return Following(self._cell.conversations, accepted)  # before anything is awaited: nothing is missed

    def _turnstile(self, conversation_id: str) -> asyncio.Lock:
        lock = self._turnstiles.get(conversation_id)
        if lock is None:
            lock = self._turnstiles[conversation_id] = asyncio.Lock()
        return lock

    async def _answer(self, request: Request, following: Following, rendering: Rendering, *, stream: bool) -> Response:
        streaming = False
        try:
            behind = await self._behind(following.accepted)
            if behind is not None:
                return _at_once(rendering, behind) if stream else JsonAnswer(rendering.completion(behind))
            if not stream:
                whole = await until_left(request, self._whole(following, rendering))
                return whole or Response(status_code=204)  # nobody reads it any more
            chunks = CompletionStream(following, rendering, self._outcome, request.scope["tom.request_id"])
            pieces = kept_alive(chunks.pieces())
            first = await anext(pieces)  # what fails before there is anything to show keeps its HTTP status
            chunks.begun = streaming = True
            return EventStream(_chained(first, pieces), closing=following.close)
        finally:
            if not streaming:
                following.close()

    async def _whole(self, following: Following, rendering: Rendering) -> Response:
        try:
            async with (
                asyncio.timeout(self._cell.settings.doors.rest_wait_seconds),
                aclosing(following.items()) as items,
            ):
                async for _ in items:
                    pass
        except (TimeoutError, ShuttingDown, ReaderTooSlow):
            raise AnswerPending from None  # it was accepted: sent again by itself it would be answered twice
        return JsonAnswer(rendering.completion(await self._outcome(following.accepted)))

    async def _outcome(self, accepted: Accepted) -> Outcome:
        return outcome_of(await self._cell.conversations.events_of(accepted.run))

    async def _behind(self, accepted: Accepted) -> Outcome | None:
        """What is told when the run ahead waits for its person: this answer may be hours away, and nothing is lost."""
        if not accepted.queued:
            return None
        which = RunFilter(conversation_id=accepted.run.conversation_id, states=(RunState.WAITING,))
        for run in await self._cell.store.runs(which, limit=1):
            asked = still_open(await self._cell.conversations.events_of(run))
            return waiting(BEHIND, asked) if asked else None
        return None

    # --- what is asked -----------------------------------------------------------------------------------------

    async def _submission(self, asked: Completion, body: Mapping[str, Any], key: str) -> Submission:
        said, instructions = asked.dialogue.said, asked.dialogue.instructions
        known = await self._known(asked.conversation_id)
        new = said[known.new_from(said) :]
        if not await self._repeats(asked.conversation_id, key):
            _check_results(new, known)
        images = newest_images(new)
        if images and not self._choices.vision:
            raise ModelHasNoVision(param="messages")
        newest = new[-1]
        spoken = newest.role == "user"
        options = dict(asked.options)
        if asked.tools and asked.tool_choice != "auto":
            options["tool_choice"] = asked.tool_choice
        message = Submission(
            text=newest.text if spoken else "",
            request_id=key or f"auto-{ids.ulid()}",
            surface=SURFACE,
            conversation_id=asked.conversation_id,
            options=options,
            metadata=asked.metadata,
            attachments=images,
            kind="chat" if asked.conversation_id else KIND,
            instructions=tuple(text for text in instructions if text not in known.instructions),
            prior=_prior(new),
            client_tools=asked.tools,
            sent=_digest(body),
            around=Circumstances(surface=SURFACE, plain=asked.stream),
        )
        if key and asked.conversation_id is None:
            await self._check_key(message)
        return message

    async def _check_conversation(self, conversation_id: str | None, caller: Caller) -> None:
        """Without the scope ``chat`` a caller goes on with what began at this door only. Raises `ScopeMissing`."""
        if conversation_id is None or caller.may(Scope.CHAT):
            return
        rows = await self._cell.store.conversations(ids=[conversation_id])
        if any(row.surface != SURFACE for row in rows):
            require(caller, Scope.CHAT)

    async def _known(self, conversation_id: str | None) -> Known:
        """What the conversation has."""
        if conversation_id is None:
            return Known()
        return known_of(await self._cell.store.tail(conversation_id, tokens=EVERYTHING, limit=READ_BACK))

    async def _repeats(self, conversation_id: str | None, key: str) -> bool:
        """Whether the call was made before: then what it tells was told then."""
        if not key or conversation_id is None:
            return False
        return bool(await self._cell.store.runs(RunFilter(conversation_id=conversation_id, request_id=key), limit=1))

    async def _check_key(self, message: Submission) -> None:
        """Refuse a key that was used for another request that stood for itself, as long as that is kept."""
        for run in await self._cell.store.runs(RunFilter(request_id=message.request_id)):
            rows = await self._cell.store.conversations(ids=[run.conversation_id])
            if run.payload_digest != message.digest and any(row.kind == KIND for row in rows):
                raise RequestIdReused


def _key_of(request: Request) -> str:
    """The header ``Idempotency-Key``; empty when there is none. Raises `InvalidParameter`."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return ""
    try:
        return checked_id(given, "Idempotency-Key")
    except InvalidMessage:
        raise invalid("Idempotency-Key", "1 to 128 letters, digits, '.', '_', ':' or '-' are required") from None


def _digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of what a repetition must send again."""
    told = {name: value for name, value in body.items() if name not in OF_THE_ANSWER}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _check_results(new: Sequence[Said], known: Known) -> None:
    """Refuse the result of a call that nobody asked for, or that was told already. Raises `UnexpectedResult`."""
    untold, told = set(known.untold), set(known.calls - known.untold)
    for one in new:
        untold.update(call["id"] for call in one.calls)
        if one.role != "tool":
            continue
        if one.call_id not in untold:
            problem = TOLD_ALREADY if one.call_id in told else NOT_ASKED
            place = f"{one.where}.tool_call_id"
            raise UnexpectedResult(f"{place}: {problem}", param=place)
        untold.discard(one.call_id)
        told.add(one.call_id)


def _prior(new: Sequence[Said]) -> tuple[Mapping[str, Any], ...]:
    """What is told before the newest message; the result of a call is told as well."""
    told = new if new[-1].role == "tool" else new[:-1]
    return tuple(one.as_prior() for one in told)


def _at_once(rendering: Rendering, outcome: Outcome) -> Response:
    async def pieces() -> AsyncGenerator[bytes]:
        yield rendering.begin() + rendering.text(outcome.text) + rendering.end(outcome)

    return EventStream(pieces())


async def _chained(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece
