"""From the events of one answer in the messages dialect to one reply."""

from typing import Any

import msgspec

from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.errors import ProviderBadAnswer, ProviderTooLarge
from tom.ids import ulid
from tom.llm.assembly import MAX_REPLY, finish_of, finished_calls, joined, without_answer
from tom.llm.blockwire import BlockCount, BlockEvent, BlockPiece, decode_event
from tom.llm.counting import estimate_usage
from tom.llm.provider import ModelItem, ModelRequest, Reply, TextDelta, ThinkingDelta

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class _Block:
    """One content block being put together."""

    __slots__ = ("parts", "piece", "signature")

    def __init__(self, piece: BlockPiece) -> None:
        self.piece = piece
        self.parts: list[str] = []
        self.signature = piece.signature or ""

    @property
    def text(self) -> str:
        return "".join(self.parts)


class BlockAssembly:
    """Puts the events of one answer together; ``over`` once the provider has said that nothing follows."""

    __slots__ = ("_blocks", "_finish", "_model", "_usage", "fresh", "over", "size")
    decode = staticmethod(decode_event)

    def __init__(self) -> None:
        self.size = 0
        self.over = False
        self.fresh: list[ModelItem] = []
        self._blocks: dict[int, _Block] = {}
        self._finish: str | None = None
        self._usage: BlockCount | None = None
        self._model = ""

    @property
    def finished(self) -> bool:
        """Whether the model said why it ended."""
        return self._finish is not None

    @property
    def tokens(self) -> tuple[int, int] | None:
        """What was used, as far as the provider has said it."""
        said = self._usage
        if said is None:
            return None
        cached = (said.cache_creation_input_tokens or 0) + (said.cache_read_input_tokens or 0)
        return (said.input_tokens or 0) + cached, said.output_tokens or 0

    def add(self, event: BlockEvent) -> None:
        """Take one event; what it adds to be shown stands in ``fresh``. Raises `ProviderTooLarge`."""
        if event.type == "content_block_delta" and event.delta is not None:
            self._extend(event.index or 0, event.delta)
        elif event.type == "content_block_start" and event.content_block is not None:
            self._begin(event.index or 0, event.content_block)
        else:
            self._note(event)
        if self.size > MAX_REPLY:
            raise ProviderTooLarge

    def take(self) -> list[ModelItem]:
        """What is to be shown since the last time: fragments that arrived together are joined."""
        fresh, self.fresh = self.fresh, []
        return fresh if len(fresh) < 2 else joined(fresh)

    def reply(self, request: ModelRequest, dropped: tuple[str, ...] = ()) -> Reply:
        """The whole reply. Raises `ProviderEmpty`, `ProviderDeclined`, `ProviderTooLarge`, `ProviderBadAnswer`."""
        text, thinking = self._joined("text"), self._joined("thinking")
        finish = _FINISH.get(self._finish or "", "stop")
        calls = finished_calls(self._calls(request), finish)
        if not calls and not text.strip():
            raise without_answer(finish)
        written = "".join((text, thinking, *(call.name + call.arguments for call in calls)))
        if len(written) > MAX_REPLY or len(written.encode(errors="replace")) > MAX_REPLY:
            raise ProviderTooLarge
        used = self.tokens
        usage = Usage(*used) if used is not None and any(used) else estimate_usage(request, written)
        return Reply(text, calls, finish_of(finish, calls), usage, self._model or request.model, thinking, dropped)

    @property
    def echo(self) -> list[dict[str, Any]]:
        """The blocks of thinking that the provider wants back with the calls of this reply, signed as they came."""
        found: list[dict[str, Any]] = []
        for block in self._in_order():
            if block.piece.type == "thinking" and block.signature:
                found.append({"type": "thinking", "thinking": block.text, "signature": block.signature})
            elif block.piece.type == "redacted_thinking" and block.piece.data:
                found.append({"type": "redacted_thinking", "data": block.piece.data})
        return found

    # --- what is heard

    def _note(self, event: BlockEvent) -> None:
        """Take an event that carries no content, or all of it."""
        match event.type:
            case "message_start" if event.message is not None:
                self._model = event.message.model or self._model
                self._count(event.message.usage)
            case "message_delta":
                self._count(event.usage)
                if event.delta is not None and event.delta.stop_reason:
                    self._finish = event.delta.stop_reason
            case "message_stop":
                self.over = True
            case "message":
                self._take_whole(event)
            case _:
                pass

    def _begin(self, index: int, piece: BlockPiece) -> None:
        self._blocks[index] = _Block(piece)
        self.size += len(piece.name or "") + len(piece.data or "")
        self._extend(index, BlockPiece(text=piece.text, thinking=piece.thinking))

    def _extend(self, index: int, delta: BlockPiece) -> None:
        block = self._blocks.get(index)
        if block is None:  # a server that does not announce its blocks
            kind = "tool_use" if delta.partial_json is not None else "thinking" if delta.thinking else "text"
            block = self._blocks[index] = _Block(BlockPiece(type=kind))
        if delta.text:
            self._gather(block, delta.text)
            self.fresh.append(TextDelta(delta.text))
        elif delta.partial_json:
            self._gather(block, delta.partial_json)
        elif delta.thinking:
            self._gather(block, delta.thinking)
            self.fresh.append(ThinkingDelta(delta.thinking))
        elif delta.signature:
            block.signature += delta.signature
            self.size += len(delta.signature)

    def _gather(self, block: _Block, text: str) -> None:
        block.parts.append(text)
        self.size += len(text)

    def _take_whole(self, event: BlockEvent) -> None:
        self._model = event.model or self._model
        self._count(event.usage)
        for index, piece in enumerate(event.content or ()):
            self._begin(index, piece)
        self._finish = event.stop_reason or self._finish
        self.over = self.finished

    def _count(self, said: BlockCount | None) -> None:
        """Counts are totals so far; a later one that leaves something out does not take it back."""
        if said is None:
            return
        before = self._usage or BlockCount()
        self._usage = BlockCount(
            said.input_tokens or before.input_tokens,
            said.output_tokens if said.output_tokens is not None else before.output_tokens,
            said.cache_creation_input_tokens or before.cache_creation_input_tokens,
            said.cache_read_input_tokens or before.cache_read_input_tokens,
        )

    # --- the parts of a reply

    def _in_order(self) -> list[_Block]:
        return [self._blocks[index] for index in sorted(self._blocks)]

    def _joined(self, kind: str) -> str:
        return "".join(block.text for block in self._in_order() if block.piece.type == kind)

    def _calls(self, request: ModelRequest) -> tuple[ToolCall, ...]:
        """The calls in order; ids that are missing or were used before in this prompt are replaced."""
        blocks = [block for block in self._in_order() if block.piece.type == "tool_use"]
        if not blocks:
            return ()
        used = {call.id for message in request.messages for call in message.calls}
        calls: list[ToolCall] = []
        for block in blocks:
            piece = block.piece
            if not piece.name:
                raise ProviderBadAnswer
            call_id = piece.id if piece.id and piece.id not in used else f"call_{ulid()}"
            used.add(call_id)
            written = block.text.strip()
            if not written and isinstance(piece.input, dict):
                written = msgspec.json.encode(piece.input).decode()
            calls.append(ToolCall(call_id, piece.name, written or "{}"))
        return tuple(calls)
