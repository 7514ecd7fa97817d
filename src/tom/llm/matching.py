"""Which tool a sentence asks for, by comparing words. Simple on purpose: it can be explained in one line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tom.conversation.tool import ToolClass, ToolDefinition
from tom.llm.filling import Filling, fill, find, words_of

_FILLERS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "at",
        "can",
        "could",
        "do",
        "does",
        "for",
        "from",
        "get",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "me",
        "my",
        "of",
        "on",
        "or",
        "please",
        "show",
        "tell",
        "that",
        "the",
        "then",
        "this",
        "to",
        "use",
        "using",
        "was",
        "what",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
        "s",
    ]
)
_DESTROYS = frozenset(
    [
        "clear",
        "delete",
        "destroy",
        "drop",
        "erase",
        "kill",
        "overwrite",
        "purge",
        "remove",
        "reset",
        "revoke",
        "shutdown",
        "wipe",
    ]
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A tool that a sentence seems to ask for. ``explicit_only``: it may destroy, so words alone do not call it."""

    tool: ToolDefinition
    filling: Filling
    explicit_only: bool


def match(text: str, tools: Sequence[ToolDefinition], timezone: str) -> Wish | None:
    """The tool that fits ``text`` best, or None. One whose parameters are all found is preferred, then the first."""
    said = frozenset(words_of(text)) - _FILLERS
    best: tuple[float, Wish] | None = None
    for tool in tools:
        name = frozenset(words_of(tool.tool or tool.name)) - _FILLERS
        if not name & said and not _names_service(tool, said):
            continue
        filling = fill(tool.parameters, find(text), remainder=_after(text, name), timezone=timezone)
        score = _score(tool, name, said) + (2.0 if filling.used_zone else 0.0)
        if score < 2.5 or (not tool.tool_class.reads_only and 2 * len(name & said) < len(name)):
            continue
        destroys = tool.tool_class is ToolClass.DESTRUCTIVE or bool(name & _DESTROYS)
        rank = score - (2.0 if filling.missing else 0.0)
        if best is None or rank > best[0]:
            best = (rank, Wish(tool, filling, destroys))
    return best[1] if best else None


def _names_service(tool: ToolDefinition, said: frozenset[str]) -> bool:
    return bool(frozenset(words_of(tool.service)) & said)


def _score(tool: ToolDefinition, name: frozenset[str], said: frozenset[str]) -> float:
    described = (frozenset(words_of(tool.description)) - _FILLERS - name) & said
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    parameters = frozenset(word for parameter in properties for word in words_of(parameter))
    return (
        3.0 * len(name & said)
        - 0.2 * len(name - said)
        + (1.0 if _names_service(tool, said) else 0.0)
        + min(2.0, 0.5 * len(described))
        + 0.5 * len(parameters & said - name)
    )


def _after(text: str, name: frozenset[str]) -> str:
    """What follows the last word of the tool's name."""
    ends = [found.end() for found in re.finditer(r"[^\W_]+", text) if name & frozenset(words_of(found[0]))]
    return text[max(ends) :].strip(" \t\n:,.?!") if ends else ""
