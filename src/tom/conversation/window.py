"""The window: the messages chosen for one prompt.

Laws (property-tested): the newest message is always in; what is kept is a suffix of the runs; a reply and the
results of its calls are in or out together; the order is chronological; the sum stays within the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.history import RunHistory
from tom.conversation.message import Message, Role
from tom.conversation.part import ToolResult
from tom.conversation.usage import estimate_tokens
from tom.errors import ContextTooSmall

KEPT_ENDS = 1000
"""Characters kept at either end of a tool result that is too large for the window."""


@dataclass(frozen=True, slots=True)
class Window:
    """What goes into the prompt, oldest first; ``left_out`` runs did not fit."""

    messages: tuple[Message, ...]
    left_out: int = 0

    @property
    def tokens(self) -> int:
        """The sum of the messages' counts."""
        return sum(message.tokens for message in self.messages)


def choose_window(
    current: RunHistory, earlier: Sequence[RunHistory], *, budget: int, message_limit: int | None = None
) -> Window:
    """Choose what fits into ``budget`` tokens, newest first, for the next turn of ``current``.

    ``message_limit`` counts user and assistant messages, but not replies that only call. Raises `ContextTooSmall`, naming both numbers, when the
    person's message alone does not fit.
    """
    asked = sum(message.tokens for message in current.asked())
    if asked > budget:
        message = f"The message needs {asked} tokens, but the context leaves room for {budget}."
        raise ContextTooSmall(message, needed=asked, available=budget)
    own = _fit_current(current, budget)
    room = budget - sum(message.tokens for message in own)
    places = None if message_limit is None else message_limit - _counted(own)
    kept: list[tuple[Message, ...]] = []
    for run in reversed(earlier):
        said = run.messages()
        if _tokens(said) > room:
            said = tuple(_shortened(message) for message in said)
        if _tokens(said) > room or (places is not None and _counted(said) > places):
            break
        room -= _tokens(said)
        places = None if places is None else places - _counted(said)
        kept.append(said)
    chosen = tuple(message for said in reversed(kept) for message in said) + own
    return Window(chosen, left_out=len(earlier) - len(kept))


def _fit_current(run: RunHistory, budget: int) -> tuple[Message, ...]:
    """The current run: whole, else with its tool results shortened, else without its oldest units."""
    whole = run.messages()
    if _tokens(whole) <= budget:
        return whole
    units = [tuple(_shortened(message) for message in unit.messages()) for unit in run.units]
    while units and _tokens(run.asked()) + sum(map(_tokens, units)) > budget:
        units.pop(0)
    return (*run.asked(), *(message for unit in units for message in unit))


def _shortened(message: Message) -> Message:
    """The message with a long tool result cut in its middle, saying how much is missing."""
    if message.role is not Role.TOOL:
        return message
    result = message.results[0]
    missing = len(result.content) - 2 * KEPT_ENDS
    if missing <= 0:
        return message
    cut = f"{result.content[:KEPT_ENDS]}\n[… {missing} characters left out …]\n{result.content[-KEPT_ENDS:]}"
    short: ToolResult = replace(result, content=cut)
    rest = tuple(part for part in message.parts if part is not result)
    return replace(message, parts=(short, *rest), tokens=min(message.tokens, estimate_tokens(cut) + MESSAGE_OVERHEAD))


def _tokens(messages: Sequence[Message]) -> int:
    return sum(message.tokens for message in messages)


def _counted(messages: Sequence[Message]) -> int:
    return sum(map(counts, messages))


def counts(message: Message) -> bool:
    """Whether a message counts where messages are counted: calls without a word ride with their reply."""
    return message.role is Role.USER or (message.role is Role.ASSISTANT and bool(message.text or not message.calls))
