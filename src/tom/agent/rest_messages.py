"""The REST door's messages: accepted first, then answered with the reply, with how the run stands, or as a stream.

A client that goes away stops nothing: the run goes on, and its events tell how it ended.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from tom.agent import frames
from tom.agent.backlog import ReaderTooSlow
from tom.agent.cell import Cell
from tom.agent.conversations import Accepted
from tom.agent.feed import Stored
from tom.agent.following import Following
from tom.agent.guarding import Endpoint, caller_of, json_body
from tom.agent.lasting import to_the_end, until_left
from tom.agent.options import choices_of
from tom.agent.permitted import again_by, check_reading
from tom.agent.prompt import Circumstances
from tom.agent.recorded import AnswerPending
from tom.agent.rest_faults import SessionNotFound, check_fields
from tom.agent.rest_outcome import Outcome, failure_of, replied_answer, unfinished_answer
from tom.agent.rest_reading import read_message, request_id_of
from tom.agent.sse import EventStream, kept_alive, wants_events
from tom.agent.submission import Submission
from tom.agent.telling import Frame, Telling
from tom.agent.visiting import session_of
from tom.agent.waiting import ASKED
from tom.conversation.event import EventType
from tom.errors import ConversationNotFound, RunNotFound, ShuttingDown

GOES_ON = "The message is stored and its run goes on: read the events of the session after {seq}."


class MessagesDoor:
    """Takes messages to one person's sessions."""

    def __init__(self, cell: Cell) -> None:
        """Hand them to ``cell``."""
        self._cell = cell
        self._choices = choices_of(cell.settings)

    def endpoints(self) -> dict[str, Endpoint]:
        """What answers which operation."""
        return {"sendMessage": self.send_message, "retryRun": self.retry_run}

    async def send_message(self, request: Request) -> Response:
        """Accept a message and answer it."""
        given = read_message(await json_body(request), request, self._choices)
        row = await session_of(self._cell, request)
        caller = caller_of(request)
        given.check(caller, self._cell.settings.doors.memory_max)
        message = given.submission(row.id)
        check_reading(message, caller, self._choices.services)
        # What was stored must be worked on: it is carried out to its end though its client is gone.
        return await self._answer(request, await to_the_end(self._accept(message, wants_events(request))))

    async def retry_run(self, request: Request) -> Response:
        """Answer the message of a failed or cancelled run again."""
        body = await json_body(request)
        check_fields(body, ("request_id",))
        request_id = request_id_of(body, request)
        row, run_id = await session_of(self._cell, request), str(request.path_params["run_id"])
        return await self._answer(request, await to_the_end(self._retry(request, row.id, run_id, request_id)))

    async def _accept(self, message: Submission, stream: bool) -> Following:
        try:
            accepted = await self._cell.conversations.accept(message)
        except ConversationNotFound:
            raise SessionNotFound from None
        following = self._following(accepted, stream)
        if message.if_busy == "interrupt" and accepted.queued and not accepted.repeated:
            await self._cell.conversations.interrupt(accepted)
        return following

    async def _retry(self, request: Request, session_id: str, run_id: str, request_id: str) -> Following:
        around, check = Circumstances(surface="rest"), again_by(caller_of(request))
        accepted = await self._cell.conversations.retry(session_id, run_id, request_id, around, check=check)
        return self._following(accepted, wants_events(request))

    def _following(self, accepted: Accepted, stream: bool) -> Following:
        """Attached before anything else is awaited. A stream stays open while the run waits for its person."""
        return Following(self._cell.conversations, accepted, through_waiting=stream)

    # --- answering -----------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, following: Following) -> Response:
        if wants_events(request):
            return EventStream(kept_alive(self._told(following)), closing=following.close)
        try:
            if _prefers_async(request) and (answer := await self._at_once(following.accepted)) is not None:
                return answer
            outcome = await until_left(request, self._outcome(following))
        finally:
            following.close()
        if outcome is None:
            return Response(status_code=204)  # nobody reads it any more
        return await self._rendered(following, outcome)

    async def _rendered(self, following: Following, outcome: Outcome) -> Response:
        run, cached = following.accepted.run, following.cached
        if outcome.end is not None and outcome.end.type == EventType.RUN_FAILED:
            raise failure_of(outcome, cached=cached)
        try:
            if outcome.end is None:
                state = (await self._cell.conversations.run(run.id)).state
                return unfinished_answer(run, outcome, state)
            row = await self._cell.conversations.get(run.conversation_id)
        except (RunNotFound, ConversationNotFound):  # erased meanwhile
            raise SessionNotFound from None
        return await replied_answer(self._cell, row, run, outcome, cached=cached)

    async def _outcome(self, following: Following) -> Outcome:
        """What came of the run, as far as it came in the time that is waited."""
        outcome = Outcome()
        try:
            async with asyncio.timeout(self._cell.settings.doors.rest_wait_seconds):
                async with aclosing(following.items()) as items:
                    async for item in items:
                        if isinstance(item, Stored):
                            outcome.note(item.event)
        except (TimeoutError, ShuttingDown, ReaderTooSlow):
            pass  # the run goes on, here or after the restart
        except RunNotFound:
            raise SessionNotFound from None
        return outcome

    async def _at_once(self, accepted: Accepted) -> Response | None:
        """How the run stands now; None when it is over and its answer is at hand."""
        state = (await self._cell.conversations.run(accepted.run.id)).state
        if state.ended:
            return None
        answer = unfinished_answer(accepted.run, Outcome(), state)
        answer.headers["Preference-Applied"] = "respond-async"
        return answer

    async def _told(self, following: Following) -> AsyncGenerator[bytes]:
        """The answer as a stream."""
        run = following.accepted.run
        cell, request_id = self._cell, run.request_id
        told = frames.accepted(
            request_id,
            conversation_id=run.conversation_id,
            run_id=run.id,
            seq=run.first_seq,
            durable=cell.conversations.durable,
            queued=following.accepted.queued,
        )
        telling, seq = Telling(cell.settings.chat, cell.clock, request_id=request_id), run.first_seq
        try:
            yield Frame(told, run.first_seq).render()
            async with aclosing(following.items()) as items:
                async for item in items:
                    seq = item.event.seq if isinstance(item, Stored) else seq
                    if isinstance(item, Stored) and item.event.type in ASKED:
                        if following.is_open(item.event):
                            yield telling.asked(item.event, request_id).render()
                        continue
                    for frame in telling.run(item, cached=following.cached):
                        yield frame.render()
        except (ShuttingDown, ReaderTooSlow) as error:
            goes_on = ShuttingDown if isinstance(error, ShuttingDown) else AnswerPending
            yield Frame(frames.refused(request_id, goes_on(GOES_ON.format(seq=seq), after=seq))).render()
        except RunNotFound:
            yield Frame(frames.refused(request_id, SessionNotFound())).render()
        finally:
            following.close()


def _prefers_async(request: Request) -> bool:
    wishes = ",".join(request.headers.getlist("prefer")).split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)
