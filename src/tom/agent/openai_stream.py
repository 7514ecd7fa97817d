"""The chunks of one run, for a client that cannot take back what it has shown."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from tom.agent.backlog import ReaderTooSlow
from tom.agent.conversations import Accepted
from tom.agent.feed import Delta, Restarted
from tom.agent.following import Following
from tom.agent.openai_answer import Outcome, Rendering, failure_pieces
from tom.agent.openai_words import BETWEEN
from tom.agent.recorded import AnswerPending
from tom.errors import ProviderError, ShuttingDown, TomError
from tom.telemetry import logs

log = logs.get("agent")

INTERRUPTED = "The reply was interrupted and begins again; what was shown of it cannot be taken back."


class CompletionStream:
    """Follows a run and writes chunks. ``begun`` is set once the client has got its first byte."""

    def __init__(
        self,
        following: Following,
        rendering: Rendering,
        outcome: Callable[[Accepted], Awaitable[Outcome]],
        request_id: str,
    ) -> None:
        """``outcome`` says what came of the run; ``request_id`` is told with a failure."""
        self.begun = False
        self._following = following
        self._rendering = rendering
        self._outcome = outcome
        self._request_id = request_id
        self._attempts: dict[int, int] = {}
        self._shown: list[str] = []

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The stream to its end. Raises `TomError` for what fails before the client got anything; later it is told.

        Where this reader is left behind though the run goes on, that is `AnswerPending`: it was accepted, and a client that
        sends it again has it answered twice.
        """
        try:
            async with aclosing(self._following.items()) as items:
                async for item in items:
                    if isinstance(item, Delta) and item.kind == "text" and not self._following.cached:
                        yield self._text(item)
                    elif isinstance(item, Restarted) and item.turn in self._attempts:
                        raise ProviderError(INTERRUPTED)  # noqa: TRY301 - told below like any other failure
            yield self._end(await self._outcome(self._following.accepted))
        except (ShuttingDown, ReaderTooSlow):
            if not self.begun:
                raise AnswerPending from None
            yield failure_pieces(AnswerPending(), self._request_id)
        except TomError as error:
            if not self.begun:
                raise
            yield failure_pieces(error, self._request_id)
        except Exception as error:
            if not self.begun:
                raise
            log.error("❌ A defect in a stream", event="internal_error", exception=error)
            yield failure_pieces(TomError(f"Internal error: {self._request_id}"), self._request_id)
        finally:
            self._following.close()

    def _text(self, item: Delta) -> bytes:
        new = item.turn not in self._attempts
        if self._attempts.setdefault(item.turn, item.attempt) != item.attempt:
            raise ProviderError(INTERRUPTED)
        return self._say(BETWEEN + item.text if new and self._shown else item.text)

    def _end(self, outcome: Outcome) -> bytes:
        """The rest of the text, such as that the run waits, and the end."""
        shown = "".join(self._shown)
        rest = outcome.text.removeprefix(shown) if outcome.text.startswith(shown) else ""
        first = self._say(rest) if rest or not self._shown else b""
        return first + self._rendering.end(outcome)

    def _say(self, text: str) -> bytes:
        """Text as a chunk; before the first one stands who speaks."""
        began = b"" if self._shown else self._rendering.begin()
        self._shown.append(text)
        return began + (self._rendering.text(text) if text else b"")
