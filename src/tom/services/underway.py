"""One call under way: what its service says meanwhile, within the rules.

Progress is thinned. A question that may be asked goes to the person, and while it is open the call's time does not
run; what may not be asked is declined, and the outcome says why.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.tool import ToolOutcome
from tom.services.cleaning import clean_within
from tom.services.questions import MOST_QUESTIONS, completed, refusal_of
from tom.services.toolbox import Exchange
from tom.telemetry import logs

log = logs.get("mcp")

MOST_ROUNDS = 10
"""How often a call is made again without asking anybody."""

ENDLESS = "The service asks over and over again."
DECLINED = ElicitationAnswer("decline")
CANCELLED = ElicitationAnswer("cancel")
_MESSAGE_BYTES = 300
_PROGRESS_PAUSE = 0.05
"""Seconds between two reports of progress that are passed on; the last one always is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool call as it is sent. ``key`` may be empty."""

    tool: str
    arguments: Mapping[str, Any]
    key: str = ""


class Underway:
    """A call whose time is measured by ``deadline``. Use it inside the time-out, and `end` it."""

    def __init__(self, service: str, exchange: Exchange | None, deadline: asyncio.Timeout) -> None:
        """Speak with the person through ``exchange``, if there is any."""
        self.exchange = exchange
        self._service = service
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._left = 0.0
        self._open = 0
        self._asked = 0
        self._over: asyncio.Event | None = None
        self._ended = False
        self._told = 0.0
        self._notes: list[str] = []

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """The service says how far it is."""
        now = self._loop.time()
        if self.exchange is None or self._ended or (now - self._told < _PROGRESS_PAUSE and progress != total):
            return
        self._told = now
        self.exchange.progressed(progress, total, clean_within(message or "", _MESSAGE_BYTES))

    async def elicit(self, question: Elicitation) -> ElicitationAnswer:
        """The person's answer, when the question may be asked and there is somebody to ask."""
        self._asked += 1
        reason = refusal_of(question) or ("it asks too often" if self._asked > MOST_QUESTIONS else None)
        if reason is not None:
            self.note(f"A question of service '{self._service}' was declined: {reason}.")
            return DECLINED
        if self.exchange is None or self._ended:
            return DECLINED
        self.pause()
        try:
            return completed(question, await self._answer(self.exchange, question))
        finally:
            self.go_on()

    def refusals(self, questions: Sequence[Elicitation]) -> dict[str, ElicitationAnswer] | None:
        """The answers by key when one of these may not be asked, so that none is; None when all may.

        What may not be asked is declined, what came with it is cancelled.
        """
        reasons = [refusal_of(question) for question in questions]
        if len(questions) > MOST_QUESTIONS:
            reasons = ["it asks too much at once"] * len(questions)
        if not any(reasons):
            return None
        for reason in dict.fromkeys(filter(None, reasons)):
            self.note(f"A question of service '{self._service}' was declined: {reason}.")
        pairs = zip(questions, reasons, strict=True)
        return {question.key: DECLINED if reason else CANCELLED for question, reason in pairs}

    async def _answer(self, exchange: Exchange, question: Elicitation) -> ElicitationAnswer:
        """The answer; `CANCELLED` when the call is over before it comes."""
        over = self._over = self._over or asyncio.Event()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._asked_of(exchange, question))
            ending = group.create_task(over.wait())
            await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
            ending.cancel()
        return CANCELLED if asking.cancelled() else asking.result()

    async def _asked_of(self, exchange: Exchange, question: Elicitation) -> ElicitationAnswer:
        try:
            return await exchange.elicit(question)
        except Exception as error:  # noqa: BLE001 - the service is owed an answer whatever became of ours
            text = f"⚠️ A question of service '{self._service}' could not be asked"
            log.warning(text, event="question_failed", service=self._service, error=error)
            return CANCELLED

    # --- time ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop the call's time, until as many `go_on`."""
        self._open += 1
        due = self._deadline.when()
        if self._open == 1 and due is not None and not self._deadline.expired():
            self._left = max(0.0, due - self._loop.time())
            self._deadline.reschedule(None)

    def go_on(self) -> None:
        """Let the call's time go on where it stopped."""
        self._open -= 1
        if self._open == 0 and not self._ended and not self._deadline.expired() and self._deadline.when() is None:
            self._deadline.reschedule(self._loop.time() + self._left)

    def end(self) -> None:
        """The call is over; questions of it that are still open are cancelled."""
        self._ended = True
        if self._over is not None:
            self._over.set()

    # --- what the outcome says besides ---------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Say this with the outcome."""
        self._notes.append(text)

    def noted(self, outcome: ToolOutcome) -> ToolOutcome:
        """The outcome, with the notes behind it."""
        if not self._notes or outcome.needs is not None:
            return outcome
        return replace(outcome, content="\n".join([outcome.content, *self._notes[:3]]))
