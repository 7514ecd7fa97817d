"""Tokens counted by Tom where a provider does not say: by the model family's own table where one is installed."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.message import Message
from tom.conversation.part import Document, Image, Text, Thinking, ToolCall
from tom.conversation.usage import Usage, estimate_tokens
from tom.llm.provider import ModelRequest

IMAGE_TOKENS = 765
"""What a picture of ordinary size costs with most providers."""

REMEMBERED = 1024
"""Texts whose count is remembered."""

SHORT = 64
"""Characters up to which a text is counted anew: remembering it would cost as much."""

_LARGE_TABLE = ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "chatgpt-", "o1", "o3", "o4")
_TABLES: Mapping[str, tuple[str, str]] = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
"""Table -> the name of its file in the folder of tiktoken, and the SHA-256 of what has to be in it."""

type CountText = Callable[[str], int]


def table_of(model: str) -> str:
    """The table for a model's texts: OpenAI's newer ones have one of their own, the other serves everybody else."""
    name = model.rpartition("/")[2].lower()
    return "o200k_base" if name.startswith(_LARGE_TABLE) else "cl100k_base"


def load_table(name: str, environment: Mapping[str, str] = os.environ) -> CountText | None:
    """What counts with the table ``name``; None unless the extra is installed and its file lies in its folder.

    The folder is ``TIKTOKEN_CACHE_DIR`` (or ``DATA_GYM_CACHE_DIR``). The file is checked before the library looks at
    it, because the library would fetch what is missing or wrong. Takes about half a second; call it in a thread.
    """
    folder = environment.get("TIKTOKEN_CACHE_DIR") or environment.get("DATA_GYM_CACHE_DIR")
    if not folder:
        return None
    file, digest = _TABLES[name]
    try:
        found = hashlib.sha256(Path(folder, file).read_bytes()).hexdigest()
        if found != digest:
            return None
        import tiktoken  # noqa: PLC0415 - an extra, and not needed without a table
    except (OSError, ImportError):
        return None
    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode(text, disallowed_special=()))


class TokenCounter:
    """Counts texts of one model family; the newest counts are remembered. Used from any thread."""

    def __init__(self, count: CountText = estimate_tokens) -> None:
        """Count with ``count``; by estimate unless given."""
        self._count = count
        self._known: OrderedDict[str, int] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def estimates(self) -> bool:
        """Whether no table is used."""
        return self._count is estimate_tokens

    def use(self, count: CountText) -> None:
        """Count with ``count`` from now on."""
        with self._guard:
            self._count = count
            self._known.clear()

    def count(self, text: str) -> int:
        """The tokens of ``text``; 0 for none."""
        if len(text) <= SHORT:
            return self._count(text) if text else 0
        with self._guard:
            found = self._known.get(text)
            if found is not None:
                self._known.move_to_end(text)
                return found
        counted = self._count(text)
        with self._guard:
            self._known[text] = counted
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return counted


def estimate_usage(request: ModelRequest, reply: str) -> Usage:
    """Count what was asked and ``reply``, everything the model wrote."""
    prompt = messages_tokens(request.messages)
    if request.tools:
        offered = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
        prompt += estimate_tokens(msgspec.json.encode(offered).decode())
    return Usage(prompt, estimate_tokens(reply), estimated=True)


def messages_tokens(messages: Iterable[Message]) -> int:
    """What messages cost: the stored counts, with an estimate where there is none."""
    return sum(message.tokens or _count(message) for message in messages)


def _count(message: Message) -> int:
    return MESSAGE_OVERHEAD + sum(_part_counts(message))


def _part_counts(message: Message) -> Iterable[int]:
    for part in message.parts:
        match part:
            case Text(text) | Thinking(text):
                yield estimate_tokens(text)
            case Document():
                yield estimate_tokens(part.text)
            case Image():
                yield IMAGE_TOKENS
            case ToolCall(name=name, arguments=arguments):
                yield estimate_tokens(name + arguments)
            case _:
                yield estimate_tokens(part.content)
