"""The options of a question in each vendor's own words; what a model does not support is dropped, and named.

``thinking`` is Tom's word (off, low, high). The rules follow the names of models, as the vendors document them.
"""

import re
from collections.abc import Mapping
from typing import Any

SAMPLING = ("temperature", "top_p", "top_k")
_THINKING_ROOM = {"low": 2048, "high": 16_384}
"""Tokens a Claude that thinks within a budget gets for it, beside those of its answer."""
_OPENAI_REASONS = re.compile(r"^(?:o\d|gpt-(?:[5-9]|\d\d))(?!.*chat)")
_OPEN_MODELS_REASON = re.compile(r"gpt-oss|qwen-?3|deepseek-r|deepseek-v[3-9]|magistral|glm-[4-9]|kimi-k2-think")
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")

FORM = ("stop", "seed", "response_format", "parallel_tool_calls")
"""How a reply is to be formed, in the words of chat completions."""
_FORMATS_SINCE = (4, 5)
"""The Claude from which on a schema for the reply is taken."""

type Fitted = tuple[dict[str, Any], tuple[str, ...]]


def fit_chat(provider: str, model: str, options: Mapping[str, Any]) -> Fitted:
    """The options as fields of a chat-completions request, and the names of those that were dropped."""
    fields = dict(options)
    thinking = fields.pop("thinking", None)
    dropped: list[str] = []
    reasons = _OPENAI_REASONS.match(model) if provider == "openai" else None
    if reasons:
        dropped += [name for name in SAMPLING if fields.pop(name, None) is not None]
    if isinstance(thinking, str):
        said = _thinking(provider, model, thinking)
        if said is None and thinking != "off":
            dropped.append("thinking")
        fields |= said or {}
    elif thinking is not None:
        fields["thinking"] = thinking  # a vendor's own form, from the entry's options
    if provider == "mistral" and "seed" in fields:
        fields["random_seed"] = fields.pop("seed")
    return fields, tuple(dropped)


def fit_messages(model: str, options: Mapping[str, Any], *, may_think: bool) -> Fitted:
    """The same for Anthropic's messages. ``may_think`` false: not in this turn (see `blockrequest.py`)."""
    fields = dict(options)
    thinking = fields.pop("thinking", None)
    dropped: list[str] = []
    version = claude_version(model)
    if isinstance(thinking, str):
        said = _claude_thinking(version, thinking)
        if said is None and thinking != "off":
            dropped.append("thinking")
        fields |= said or {}
    elif thinking is not None:
        fields["thinking"] = thinking
    if not may_think:
        fields.pop("thinking", None)
    dropped += _form_for_claude(version, fields)
    budget: Any = fields.get("thinking", {}).get("budget_tokens", 0)
    if budget:
        fields["max_tokens"] += budget
    if "thinking" in fields or version >= (4, 7):
        dropped += [name for name in SAMPLING if fields.pop(name, None) is not None]
    elif "temperature" in fields:
        fields["temperature"] = min(1.0, fields["temperature"])
        if fields.pop("top_p", None) is not None:
            dropped.append("top_p")
    return fields, tuple(dropped)


def _form_for_claude(version: tuple[int, int], fields: dict[str, Any]) -> list[str]:
    """Put the wishes of `FORM` into Claude's own fields; the names of those that it has none for."""
    stop, form = fields.pop("stop", None), fields.pop("response_format", None)
    dropped = ["seed"] if fields.pop("seed", None) is not None else []
    if stop:
        fields["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    match form:
        case None | {"type": "text"}:
            pass
        case {"type": "json_schema", "json_schema": {"schema": schema}} if version >= _FORMATS_SINCE:
            told = {"format": {"type": "json_schema", "schema": schema}}
            fields["output_config"] = {**fields.get("output_config", {}), **told}
        case _:
            dropped.append("response_format")
    return dropped


def claude_version(model: str) -> tuple[int, int]:
    """``claude-opus-4-7`` -> (4, 7); (0, 0) for a name that says none."""
    found = _CLAUDE.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _thinking(provider: str, model: str, wish: str) -> dict[str, Any] | None:  # noqa: PLR0911 - a table of vendors
    """How a vendor is told to think; None where the model does not."""
    name = model.lower()
    effort = {"reasoning_effort": wish}
    match provider:
        case "openai" if _OPENAI_REASONS.match(name):
            least = "none" if re.match(r"gpt-(?:5\.|[6-9])", name) else "minimal" if name.startswith("gpt") else "low"
            return {"reasoning_effort": least} if wish == "off" else effort
        case "openrouter":
            return {"reasoning": {"effort": "none" if wish == "off" else wish}}
        case "gemini" if not re.search(r"gemini-(?:1|2\.0)", name):
            least = "none" if "2.5-flash" in name else "low"
            return {"reasoning_effort": least} if wish == "off" else effort
        case "deepseek":
            return {"thinking": {"type": "disabled"}} if wish == "off" else {"thinking": {"type": "enabled"}, **effort}
        case "groq" if "gpt-oss" in name:
            return {"reasoning_effort": "low" if wish == "off" else wish}
        case "groq" if "qwen" in name:
            return {"reasoning_effort": "none" if wish == "off" else "default"}
        case "ollama" | "compatible" if _OPEN_MODELS_REASON.search(name):
            return {"reasoning_effort": "none" if wish == "off" else wish}
        case _:
            return None


def _claude_thinking(version: tuple[int, int], wish: str) -> dict[str, Any] | None:
    """Claude thinks since 3.7, as it sees fit since 4.6; the newest cannot be told not to."""
    if version >= (4, 6):
        if wish == "off":
            return {"output_config": {"effort": "low"}} if version >= (5, 0) else {}
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": wish}}
    if version >= (3, 7):
        room = _THINKING_ROOM.get(wish)
        return {"thinking": {"type": "enabled", "budget_tokens": room}} if room else {}
    return None
