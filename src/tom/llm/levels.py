"""From the settings to the models that may answer: by level, with those of other LLMs behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tom.clock import Clock, SystemClock
from tom.config.agent import AgentSettings, LlmEntry, Price
from tom.errors import ProviderError
from tom.llm.breaker import Breaker
from tom.llm.prices import dearest, price_at
from tom.llm.provider import Provider

SCRIPTED = "scripted"
UNCONFIGURED = "unconfigured"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that may answer a turn.

    ``llm`` is its entry's name; ``options`` are those of the entry and of its level; ``price`` is the dearest of all where
    it is not known, None where none is;
    ``context_tokens`` and ``max_tokens`` 0: not known; ``vision`` None: not known, pictures are sent. ``wanted``: it is the
    one to be asked first while it does not fail.
    """

    llm: str
    provider: Provider
    model: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_retries: int = 2
    backoff_factor: float = 2.0
    price: Price | None = None
    context_tokens: int = 0
    max_tokens: int = 0
    vision: bool | None = None
    wanted: bool = False


class Models:
    """The models of one agent, each LLM's connections opened when it is first asked."""

    def __init__(self, settings: AgentSettings, clock: Clock | None = None) -> None:
        """Take the default LLM, the others and their order from ``settings``. Nothing is connected yet.

        A default without an entry is ``unconfigured``: the scripted model is never a substitute for a real one.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._breaker = Breaker(self._clock)
        self._providers: dict[str, Provider] = {}
        known = settings.llm == SCRIPTED or settings.llm in settings.llms
        self._dearest = dearest(settings.llms.values())
        self.name = settings.llm if known else UNCONFIGURED
        """The default LLM: its entry's name, ``scripted`` or ``unconfigured``."""

    def candidates(self, level: int, llm: str = "", model: str = "") -> tuple[Candidate, ...]:
        """Who may answer a turn of ``level`` (0, 1, 2; others count as the nearest), best first.

        First the LLM named ``llm``, or the default one when that is not usable, with ``model`` instead of the level's
        where given; then the same level of the fallbacks. Those that fail just now come last.
        """
        level = min(2, max(0, level))
        first = llm if llm in self._settings.llms or llm == SCRIPTED else self.name
        names = [first]
        if first not in {SCRIPTED, UNCONFIGURED}:
            names += [name for name in self._settings.llm_fallbacks if name != first and name in self._settings.llms]
        found = [self._candidate(name, level) for name in names]
        found[0] = replace(self._with_model(found[0], model) if model else found[0], wanted=True)
        return self.in_order(tuple(found))

    def in_order(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The same candidates, those whose LLM fails just now last."""
        if len(candidates) < 2:
            return candidates
        return tuple(sorted(candidates, key=lambda candidate: not self._breaker.closed(candidate.llm)))

    def is_closed(self, llm: str) -> bool:
        """Whether the breaker of ``llm`` is closed."""
        return self._breaker.closed(llm)

    def asking(self, llm: str) -> None:
        """``llm`` is about to be asked."""
        self._breaker.try_again(llm)

    def failed(self, llm: str, error: ProviderError) -> None:
        """An attempt of ``llm`` ended in ``error``."""
        self._breaker.failed(llm, error)

    def succeeded(self, llm: str) -> None:
        """An attempt of ``llm`` ended well."""
        self._breaker.succeeded(llm)

    def provider_of(self, llm: str) -> Provider:
        """The provider of an LLM, made when it is first wanted."""
        if llm not in self._providers:
            self._providers[llm] = self._watched(llm, self._opened(llm))
        return self._providers[llm]

    async def close(self) -> None:
        """Close all connections."""
        while self._providers:
            _, provider = self._providers.popitem()
            await provider.close()

    def _candidate(self, name: str, level: int) -> Candidate:
        entry = self._settings.llms.get(name)
        if entry is None:
            return Candidate(name, self.provider_of(name), name, max_retries=0)
        own: Mapping[str, Any] = entry.options_by_level[level] if entry.options_by_level else {}
        return Candidate(
            llm=name,
            provider=self.provider_of(name),
            model=entry.models[level],
            options={**entry.options, **own},
            max_retries=entry.max_retries,
            backoff_factor=entry.backoff_factor,
            price=price_at(entry, level) or self._dearest,
            context_tokens=entry.context_tokens,
            max_tokens=entry.max_tokens,
            vision=entry.vision,
        )

    def _with_model(self, candidate: Candidate, model: str) -> Candidate:
        """The candidate with another model of its provider: its price is only known when a level has that model, else the dearest."""
        entry = self._settings.llms.get(candidate.llm)
        if entry is None:
            return candidate
        level = entry.models.index(model) if model in entry.models else None
        price = None if level is None else price_at(entry, level)
        return replace(candidate, model=model, price=price or self._dearest)

    def _watched(self, llm: str, provider: Provider) -> Provider:
        if not self._settings.debug_llm:
            return provider
        from tom.llm.watched import Watched  # noqa: PLC0415 - for whoever looks for a fault

        return Watched(provider, llm, self._settings.home, self._clock)

    def _opened(self, llm: str) -> Provider:
        entry = self._settings.llms.get(llm)
        if entry is not None:
            return open_provider(entry, self._clock)
        if llm == SCRIPTED:
            from tom.llm.scripted import ScriptedModel  # noqa: PLC0415 - a run with a real model does without it

            return ScriptedModel(self._settings.timezone)
        from tom.llm.unconfigured import Unconfigured  # noqa: PLC0415 - as above

        return Unconfigured()


def open_provider(entry: LlmEntry, clock: Clock | None = None) -> Provider:
    """The adapter that speaks the entry's dialect. Nothing is connected yet; `Provider.close` ends it."""
    if entry.dialect == "anthropic":
        from tom.llm.anthropic import AnthropicMessages  # noqa: PLC0415 - aiohttp takes a tenth of a second

        return AnthropicMessages(entry, clock)
    from tom.llm.openai import OpenAIChat  # noqa: PLC0415 - as above

    return OpenAIChat(entry, clock)


def open_models(settings: AgentSettings, clock: Clock | None = None) -> Models:
    """The models that ``settings`` name. Nothing is connected yet; `Models.close` ends them."""
    if (settings.home / "debug").is_dir():
        from tom.llm.watched import forget  # noqa: PLC0415 - only where somebody has looked for a fault

        forget(settings.home, clock or SystemClock())
    return Models(settings, clock)
