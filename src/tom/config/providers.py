"""The table of providers: whose key is in which variable, where it answers, which models it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """A vendor. ``models`` (levels 0, 1, 2) are asked for when the person names none; ``families`` choose others."""

    name: str
    key_variables: tuple[str, ...]
    base_url: str
    models: tuple[str, str, str]
    families: tuple[str, str, str] = ("", "", "")


_ALL = (
    KnownProvider(
        "openai",
        ("OPENAI_API_KEY",),
        "https://api.openai.com/v1",
        ("gpt-4o-mini", "gpt-4.1", "gpt-4.1"),
        ("mini", "gpt-", "gpt-"),
    ),
    KnownProvider(
        "groq",
        ("GROQ_API_KEY",),
        "https://api.groq.com/openai/v1",
        ("llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "llama-3.3-70b-versatile"),
        ("llama", "llama", "llama"),
    ),
    KnownProvider(
        "openrouter",
        ("OPENROUTER_KEY", "OPENROUTER_API_KEY"),
        "https://openrouter.ai/api/v1",
        ("openrouter/auto", "openrouter/auto", "openrouter/auto"),
        ("openrouter/auto", "openrouter/auto", "openrouter/auto"),
    ),
    KnownProvider(
        "anthropic",
        ("ANTHROPIC_API_KEY",),
        "https://api.anthropic.com",
        ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("haiku", "sonnet", "sonnet"),
    ),
    KnownProvider(
        "gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("gemini-1.5-flash", "gemini-1.5-flash", "gemini-1.5-flash"),
        ("flash", "flash", "flash"),
    ),
    KnownProvider(
        "mistral",
        ("MISTRAL_API_KEY",),
        "https://api.mistral.ai/v1",
        ("mistral-small-latest", "mistral-medium-latest", "mistral-large-latest"),
        ("small", "medium", "large"),
    ),
    KnownProvider(
        "deepseek",
        ("DEEPSEEK_API_KEY",),
        "https://api.deepseek.com/v1",
        ("deepseek-chat", "deepseek-chat", "deepseek-chat"),
        ("chat", "chat", "chat"),
    ),
    KnownProvider("ollama", (), "http://localhost:11434/v1", ("llama3.2", "llama3.2", "llama3.2")),
)
KNOWN: Mapping[str, KnownProvider] = {provider.name: provider for provider in _ALL}
KEY_VARIABLES = tuple(name for provider in _ALL for name in provider.key_variables)


def key_variable(provider: KnownProvider, env: Mapping[str, str]) -> str:
    """The variable of this provider that is set, else the first one; empty for a provider without key."""
    for name in provider.key_variables:
        if usable_key(env.get(name, "")):
            return name
    return provider.key_variables[0] if provider.key_variables else ""


def usable_key(text: str) -> bool:
    """Whether this is a key and not the placeholder of an example."""
    trimmed = text.strip().lower()
    if not trimmed or trimmed.endswith(("...", "…")) or trimmed.startswith(("your-", "your_", "<")):
        return False
    return trimmed not in {"api-key", "api_key", "changeme"}
