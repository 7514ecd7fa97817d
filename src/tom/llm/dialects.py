"""How providers differ from the documented chat-completions dialect.

What is known by name stands here; what is only found out by asking (an option that is refused, an order of roles that
a model's template does not take) the adapter learns from the refusal.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's ways. ``strict_order``: one system message, at the beginning, and person and model take turns."""

    asks_for_usage: bool = True
    short_call_ids: bool = False
    empty_parameters: bool = True
    renames_max_tokens: bool = False
    strict_order: bool = False
    echoes_thinking: bool = False
    echoes_signatures: bool = False


def dialect_of(provider: str, base_url: str) -> Dialect:
    """What is known about a provider, by its name.

    Mistral refuses ``stream_options``, takes ids of nine letters only, and no person right after a tool's result;
    Gemini refuses a schema without properties and wants the signatures of its calls back; DeepSeek wants its thinking
    back; OpenAI's own newer models refuse ``max_tokens``, and all of them take ``max_completion_tokens``.
    """
    match provider:
        case "mistral":
            return Dialect(asks_for_usage=False, short_call_ids=True, strict_order=True)
        case "gemini":
            return Dialect(empty_parameters=False, strict_order=True, echoes_signatures=True)
        case "deepseek":
            return Dialect(echoes_thinking=True)
        case "openai" if "//api.openai.com" in base_url:
            return Dialect(renames_max_tokens=True)
        case _:
            return Dialect()


_ORDER = re.compile(
    r"\broles?\b.*\b(?:alternat|order|after|must|expected|unexpected|support)|\bunexpected role\b|\bexpected last role\b"
    r"|\bsystem (?:message|role|prompt)s?\b.*\b(?:begin|first|start|only|one|support)",
    re.IGNORECASE | re.DOTALL,
)


def is_about_order(message: str) -> bool:
    """Whether a provider's refusal is about the order of roles."""
    return _ORDER.search(message) is not None
