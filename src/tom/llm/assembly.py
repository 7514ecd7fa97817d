"""From the events of one answer to one reply.

Providers number parallel calls differently: by index, by id, by neither, or all with index 0. The rules below were
chosen so that two calls are never joined and one call is never torn apart.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.errors import ProviderBadAnswer, ProviderDeclined, ProviderEmpty, ProviderError, ProviderTooLarge
from tom.ids import ulid
from tom.llm.chatwire import CallPiece, Chunk, Count, Said, decode_chunk, is_whole
from tom.llm.counting import estimate_usage
from tom.llm.provider import ModelItem, ModelRequest, Reply, TextDelta, ThinkingDelta

MAX_REPLY = 10 * 1024 * 1024
"""Bytes of text, thinking and arguments that one reply may have."""

_FINISH = {
    "": "stop",
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "function_call": "tool_calls",
    "tool_calls": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
}


def joined(fresh: list[ModelItem]) -> list[ModelItem]:
    """Fragments that arrived together, as one of each kind, thinking first."""
    whole: list[ModelItem] = []
    for kind in (ThinkingDelta, TextDelta):
        text = "".join(item.text for item in fresh if isinstance(item, kind))
        if text:
            whole.append(kind(text))
    return whole


def finished_calls(calls: tuple[ToolCall, ...], finish: str) -> tuple[ToolCall, ...]:
    """The calls that can be made: a reply that was cut for its length may end in the middle of one."""
    if finish == "length" and calls and not is_whole(calls[-1].arguments):
        return calls[:-1]
    return calls


def finish_of(finish: str, calls: tuple[ToolCall, ...]) -> str:
    """Why a reply ended, made to agree with what it holds."""
    if calls:
        return "tool_calls"
    return "stop" if finish == "tool_calls" else finish


def without_answer(finish: str) -> ProviderError:
    """The error for an answer without text and without a call."""
    if finish == "content_filter":
        return ProviderDeclined()
    if finish == "length":
        return ProviderEmpty("The language model used up the length of its reply before it answered.")
    return ProviderEmpty()


@dataclass(slots=True)
class _Slot:
    """One call being put together."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        return "".join(self.arguments)

    def complete(self) -> bool:
        return bool(self.name) and is_whole(self.text())


class Assembly:
    """Puts the events of one answer together. ``finished`` once the model said why it ended.

    ``echo`` is what came with the first call and may be wanted back; ``over``: nothing follows (never known here).
    """

    __slots__ = (
        "_by_index",
        "_finish",
        "_model",
        "_slots",
        "_text",
        "_thinking",
        "_usage",
        "echo",
        "fresh",
        "over",
        "size",
    )
    decode = staticmethod(decode_chunk)

    def __init__(self) -> None:
        self.size = 0
        self.fresh: list[ModelItem] = []
        self.over = False
        self.echo: Any = None
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._slots: list[_Slot] = []
        self._by_index: dict[int, _Slot] = {}
        self._finish: str | None = None
        self._usage: Count | None = None
        self._model = ""

    @property
    def finished(self) -> bool:
        """Whether the model said why it ended."""
        return self._finish is not None

    def add(self, chunk: Chunk) -> None:
        """Take one event; what it adds to be shown stands in ``fresh``. Raises `ProviderTooLarge`."""
        if chunk.model and not self._model:
            self._model = chunk.model
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
        if usage is not None:
            self._usage = usage
        for choice in chunk.choices or ():
            if choice.index:
                continue
            said = choice.delta or choice.message
            if said is not None:
                self._hear(said)
            if choice.finish_reason:
                self._finish = choice.finish_reason
        if self.size > MAX_REPLY:
            raise ProviderTooLarge

    def take(self) -> list[ModelItem]:
        """What is to be shown since the last time: fragments that arrived together are joined."""
        fresh, self.fresh = self.fresh, []
        return fresh if len(fresh) < 2 else joined(fresh)

    @property
    def tokens(self) -> tuple[int, int] | None:
        """What was used, as far as the provider has said it."""
        said = self._usage
        return (said.prompt_tokens or 0, said.completion_tokens or 0) if said is not None else None

    @property
    def thinking(self) -> str:
        """What the model has said to itself so far."""
        return "".join(self._thinking)

    def reply(self, request: ModelRequest, dropped: tuple[str, ...] = ()) -> Reply:
        """The whole reply. Raises `ProviderEmpty`, `ProviderDeclined`, `ProviderTooLarge`, `ProviderBadAnswer`."""
        if self._finish == "error":
            raise ProviderBadAnswer
        text, thinking = "".join(self._text), self.thinking
        finish = _FINISH.get((self._finish or "").lower(), "stop")
        calls = finished_calls(self._calls(request), finish)
        if not calls and not text.strip():
            raise without_answer(finish)
        written = "".join((text, thinking, *(call.name + call.arguments for call in calls)))
        if len(written) > MAX_REPLY or len(written.encode(errors="replace")) > MAX_REPLY:
            raise ProviderTooLarge
        finish = finish_of(finish, calls)
        usage = self._usage_of(request, written)
        return Reply(text, calls, finish, usage, self._model or request.model, thinking, dropped)

    # --- what is heard

    def _hear(self, said: Said) -> None:
        thought = said.reasoning_content or said.reasoning
        if thought and isinstance(thought, str):
            self._think(thought)
        content = said.content
        if content:
            if isinstance(content, str):
                self._say(content)
            else:
                self._hear_parts(content)
        if said.refusal:
            self._say(said.refusal)
        if said.tool_calls:
            for position, piece in enumerate(said.tool_calls):
                self._call_piece(piece, position)

    def _hear_parts(self, parts: list[Any]) -> None:
        """Take content that is a list of parts: text, or thinking that is a list in turn (Mistral)."""
        for part in parts:
            match part:
                case {"type": "thinking", "thinking": [*thoughts]}:
                    self._think("".join(str(thought.get("text", "")) for thought in thoughts))
                case {"type": "thinking", "thinking": str(thought)}:
                    self._think(thought)
                case {"text": str(text)}:
                    self._say(text)
                case _:
                    pass

    def _say(self, text: str) -> None:
        self._text.append(text)
        self.size += len(text)
        self.fresh.append(TextDelta(text))

    def _think(self, text: str) -> None:
        if text:
            self._thinking.append(text)
            self.size += len(text)
            self.fresh.append(ThinkingDelta(text))

    # --- tool calls

    def _call_piece(self, piece: CallPiece, position: int) -> None:
        slot = self._slot(piece, position)
        function = piece.function
        if piece.id not in {None, ""} and not slot.id:
            slot.id = str(piece.id)
        if piece.extra_content and self.echo is None:
            self.echo = piece.extra_content
        if function is None:
            return
        if function.name and not slot.name:
            slot.name = function.name
            self.size += len(function.name)
        arguments = function.arguments
        if arguments is None or arguments == "":
            return
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        if function.name and slot.arguments and slot.text() == text and slot.complete():
            return  # the whole call, sent again
        slot.arguments.append(text)
        self.size += len(text)

    def _slot(self, piece: CallPiece, position: int) -> _Slot:
        """The call that a fragment belongs to, or a new one."""
        known: _Slot | None
        if piece.index is not None:
            known = self._by_index.get(piece.index)
        elif piece.id not in {None, ""}:
            known = next((slot for slot in self._slots if slot.id == str(piece.id)), None)
        else:
            named = piece.function is not None and bool(piece.function.name)
            known = None if (named and position > 0) or not self._slots else self._slots[-1]
        if known is None or self._begins_another(known, piece):
            known = _Slot()
            self._slots.append(known)
            if piece.index is not None:
                self._by_index[piece.index] = known
        return known

    @staticmethod
    def _begins_another(slot: _Slot, piece: CallPiece) -> bool:
        """Whether a fragment that points at ``slot`` is another call all the same (Ollama counts from 0 to 0)."""
        if piece.id not in {None, ""} and slot.id:
            return str(piece.id) != slot.id
        function = piece.function
        if function is None or not function.name or not slot.name:
            return False
        if function.name == slot.name and (slot.id or function.arguments == slot.text()):
            return False  # the name, or the whole call, once more
        return slot.complete() or (function.name != slot.name and not slot.arguments)

    def _calls(self, request: ModelRequest) -> tuple[ToolCall, ...]:
        """The calls in order; ids that are missing or were used before in this prompt are replaced."""
        if not self._slots:
            return ()
        used = {call.id for message in request.messages for call in message.calls}
        calls: list[ToolCall] = []
        for slot in self._slots:
            if not slot.name:
                raise ProviderBadAnswer
            call_id = slot.id if slot.id and slot.id not in used else f"call_{ulid()}"
            used.add(call_id)
            calls.append(ToolCall(call_id, slot.name, slot.text().strip() or "{}"))
        return tuple(calls)

    def _usage_of(self, request: ModelRequest, written: str) -> Usage:
        said = self._usage
        if said is None or not (said.prompt_tokens or said.completion_tokens):
            return estimate_usage(request, written)
        return Usage(said.prompt_tokens or 0, said.completion_tokens or 0)
