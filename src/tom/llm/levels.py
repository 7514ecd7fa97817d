"""From the settings to a provider and its three models."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tom.config.agent import AgentSettings, LlmEntry
from tom.llm.provider import Provider

SCRIPTED = "scripted"
UNCONFIGURED = "unconfigured"


@dataclass(frozen=True, slots=True)
class Models:
    """The provider in use; ``name`` is its entry's name, or ``scripted`` or ``unconfigured``.

    ``options`` are those of the entry. The adapter sends them with every request by itself; a `ModelRequest` names
    only what differs. ``max_retries`` is how often one question may be asked again.
    """

    provider: Provider
    name: str
    by_level: tuple[str, str, str]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_retries: int = 0

    def model_for(self, level: int) -> str:
        """The model of complexity ``level``: 0, 1 or 2; others count as the nearest."""
        return self.by_level[min(2, max(0, level))]


def open_models(settings: AgentSettings) -> Models:
    """Make the provider that ``settings.llm`` names. Nothing is connected yet; `Provider.close` ends it.

    A name without an entry is ``unconfigured``: the scripted model is never a substitute for a real one.
    """
    if settings.llm == SCRIPTED and SCRIPTED not in settings.llms:
        from tom.llm.scripted import ScriptedModel  # noqa: PLC0415 - a run with a real model does without it

        return Models(ScriptedModel(settings.timezone), SCRIPTED, (SCRIPTED, SCRIPTED, SCRIPTED))
    entry = settings.llms.get(settings.llm)
    if entry is None:
        from tom.llm.unconfigured import Unconfigured  # noqa: PLC0415 - as above

        return Models(Unconfigured(), UNCONFIGURED, (UNCONFIGURED, UNCONFIGURED, UNCONFIGURED))
    from tom.llm.openai import OpenAIChat  # noqa: PLC0415 - aiohttp takes a tenth of a second

    return Models(OpenAIChat(_reachable(entry)), entry.name, entry.models, entry.options, entry.max_retries)


def _reachable(entry: LlmEntry) -> LlmEntry:
    """The entry with the address of the dialect spoken: Anthropic's chat completions live below ``/v1``."""
    if entry.provider == "anthropic" and entry.base_url.rstrip("/").endswith("anthropic.com"):
        return replace(entry, base_url=f"{entry.base_url.rstrip('/')}/v1")
    return entry
