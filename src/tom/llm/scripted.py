"""The offline model of a fresh installation: rules, and it says so. Never a substitute for a real model."""

import asyncio
import difflib
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from tom.conversation.message import Message, Role
from tom.conversation.part import ToolCall, ToolResult
from tom.conversation.tool import ToolDefinition
from tom.ids import ulid
from tom.llm import tour
from tom.llm.counting import estimate_usage
from tom.llm.matching import match
from tom.llm.provider import ModelItem, ModelRequest, Reply, TextDelta
from tom.llm.sampling import FORM
from tom.llm.tour import BANNER

__all__ = ["BANNER", "ScriptedModel"]

MODEL = "scripted"
MAX_SHOWN = 4000
"""Characters of a tool's result that an answer repeats."""
_BREATH = 8
"""Fragments after which other tasks get their turn."""

_TOOL_LINE = re.compile(r"/tool\s+(?P<name>\S+)\s*(?P<arguments>.*)", re.DOTALL)
_HELP = frozenset(
    {"help", "hello", "hi", "hey", "?", "/help", "start", "what can you do", "who are you", "سلام", "راهنما"}
)
_TOUR = frozenset({"tour", "/tour", "the tour", "show me the tour", "start the tour", "give me a tour", "demo"})
_TOOLS = frozenset({"tools", "/tools", "list tools", "list the tools", "which tools are there"})


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str = ""
    call: ToolCall | None = None


class ScriptedModel:
    """A `tom.llm.provider.Provider` that needs nothing: no key, no network."""

    def __init__(self, timezone: str = "UTC") -> None:
        """``timezone`` is the person's, for a question that names no place."""
        self._timezone = timezone

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Answer by rule, word by word. Raises nothing."""
        answer = self._answer(request)
        for number, word in enumerate(re.findall(r"\s*\S+\s*?(?=\s|$)|\s+$", answer.text)):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            yield TextDelta(word)
        calls = (answer.call,) if answer.call else ()
        written = answer.text + "".join(call.name + call.arguments for call in calls)
        usage = estimate_usage(request, written)
        dropped = tuple(name for name in FORM if name in request.options)
        yield Reply(answer.text, calls, "tool_calls" if calls else "stop", usage, MODEL, dropped=dropped)

    async def models(self) -> tuple[str, ...]:
        """Itself."""
        return (MODEL,)

    async def close(self) -> None:
        """Nothing to release."""

    def _answer(self, request: ModelRequest) -> _Answer:
        results = _latest_results(request.messages)
        if results:
            return _Answer("\n\n".join(_result_text(result, request.messages) for result in results))
        said = next((message.text for message in reversed(request.messages) if message.role is Role.USER), "").strip()
        asked = said.lower().rstrip(" .!?؟") or said
        if asked in _TOUR:
            return _Answer(tour.tour_text(request.tools))
        if asked in _HELP or not said:
            return _Answer(tour.help_text(request.tools))
        if asked in _TOOLS:
            return _Answer(tour.tools_text(request.tools))
        line = _TOOL_LINE.match(said)
        if line is not None:
            return _named(line["name"], line["arguments"].strip(), request.tools)
        return self._by_words(said, request.tools)

    def _by_words(self, said: str, tools: Sequence[ToolDefinition]) -> _Answer:
        wish = match(said, tools, self._timezone)
        if wish is None:
            return _Answer(tour.fallback_text(tools))
        if wish.filling.missing:
            return _Answer(tour.missing_text(wish.tool, wish.filling.missing))
        if wish.explicit_only:
            return _Answer(tour.explicit_text(wish.tool, wish.filling.arguments))
        return _calling(wish.tool, json.dumps(wish.filling.arguments, ensure_ascii=False))


def _named(name: str, arguments: str, tools: Sequence[ToolDefinition]) -> _Answer:
    """Answer ``/tool NAME {json}``; a bare tool name will do while only one service has it."""
    found = [tool for tool in tools if name in {tool.name, tool.full_name}]
    found = found or [tool for tool in tools if tool.tool == name]
    if len(found) != 1:
        names = {spelling: tool.name for tool in found or tools for spelling in (tool.tool, tool.full_name, tool.name)}
        near = sorted(set(names.values())) if found else _near(name, names)
        return _Answer(tour.unknown_tool_text(name, near, tools))
    try:
        value = json.loads(arguments or "{}")
    except ValueError as error:
        return _Answer(f"What follows `{name}` is not valid JSON: {error}.")
    if not isinstance(value, dict):
        return _Answer(f'What follows `{name}` must be a JSON object, such as `{{"parameter": "value"}}`.')
    return _calling(found[0], arguments or "{}")


def _near(name: str, names: dict[str, str]) -> list[str]:
    """The names of the tools spelled most like ``name``, best first, each once."""
    return list(dict.fromkeys(names[found] for found in difflib.get_close_matches(name, names, n=3)))


def _calling(tool: ToolDefinition, arguments: str) -> _Answer:
    return _Answer(call=ToolCall(f"call_{ulid()}", tool.name, arguments))


def _latest_results(messages: Sequence[Message]) -> list[ToolResult]:
    """The results that nobody has spoken about yet, in order."""
    results: list[ToolResult] = []
    for message in reversed(messages):
        if message.role is not Role.TOOL:
            break
        results[:0] = message.results
    return results


def _result_text(result: ToolResult, messages: Sequence[Message]) -> str:
    called = next(
        (call.name for message in messages for call in message.calls if call.id == result.call_id), "the tool"
    )
    value = _parsed(result.content)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if "error" in fields and "result" not in fields:
            return f"`{called}` could not do it:\n\n{_fenced(_parsed(fields['error']))}"
        if "result" in fields and "status" in fields:
            value = _parsed(fields["result"])
    if result.is_error:
        return f"`{called}` could not do it:\n\n{_fenced(value)}"
    spoken = _spoken_time(value)
    return f"{spoken}`{called}` answered:\n\n{_fenced(value)}"


def _parsed(value: Any) -> Any:
    """The value of a JSON text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _spoken_time(value: Any) -> str:
    """A sentence for a result that is a time in a zone."""
    match value:
        case {"timezone": str(zone), "datetime": str(moment)}:
            try:
                then = datetime.fromisoformat(moment)
            except ValueError:
                return ""
            return f"It is **{then:%H:%M}** on {then:%A}, {then:%Y-%m-%d}, in {zone}.\n\n"
        case _:
            return ""


def _fenced(value: Any) -> str:
    """A value in a code block that its own text cannot end."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}\n… {len(text) - MAX_SHOWN} more characters"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{'' if isinstance(value, str) else 'json'}\n{text}\n{fence}"
