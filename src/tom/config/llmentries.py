"""From the two tables of language models to usable entries; an entry that cannot be used says why.

`global.llms` sends only what it names; `llm.providers` has defaults of its own. A name that stands in both is one
entry: what both name must agree.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tom.config.agent import LlmEntry
from tom.config.expand import Lookup
from tom.config.llmsections import LlmSection, ProviderSection
from tom.config.providers import KNOWN, key_variable, usable_key
from tom.config.schema import Path, dotted
from tom.config.secret import Secret
from tom.config.sections import Root

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class Skipped(Exception):
    """Why an entry cannot be used."""


class EntryReader:
    """Reads entries of either table. ``errors`` are those of headers that cannot be looked up."""

    def __init__(self, root: Root, lookup: Lookup, variables: Mapping[str, str]) -> None:
        """``variables`` hold the keys."""
        self.errors: list[tuple[Path, str]] = []
        self._root = root
        self._lookup = lookup
        self._variables = variables

    # --- global.llms -------------------------------------------------------------------------------------------

    def entry(self, name: str, section: LlmSection) -> tuple[LlmEntry, list[str]]:
        """An entry of `global.llms`, and its models as written. Raises `Skipped`."""
        written = _three(section.models)
        provider, models = _split(written, has_url=bool(section.base_url))
        base_url = (section.base_url or self.base_url(provider)).rstrip("/")
        if not base_url:
            reason = "needs 'base_url'" if provider == "compatible" else "is unknown and there is no 'base_url'"
            raise Skipped(f"provider {provider!r} {reason}")
        options = dict(section.options)
        if section.temperature is not None:
            options["temperature"] = section.temperature
        if section.max_tokens is not None:
            options["max_tokens"] = section.max_tokens
        entry = LlmEntry(
            name=name,
            provider=provider if provider in KNOWN else "compatible",
            base_url=base_url,
            key=self._key(section, provider),
            models=models,
            dialect=dialect_of(provider, section.dialect),
            options=options,
            options_by_level=tuple(section.options_by_level or ()),
            price=section.price or (),
            context_tokens=section.context_tokens or 0,
            max_tokens=section.max_tokens or 0,
            vision=section.vision,
            max_connections=0,
            timeout=section.timeout or self._root.provider_timeout_seconds,
        )
        return entry, written

    def _key(self, section: LlmSection, provider: str) -> Secret:
        known = KNOWN.get(provider)
        if section.env_var is not None and not _VARIABLE.fullmatch(section.env_var):
            raise Skipped("'env_var' is not the name of a variable")
        variable = section.env_var or (key_variable(known, self._variables) if known else "")
        from_variable = self._variables.get(variable, "").strip()
        given = section.api.reveal().strip() if section.api else ""
        if section.env_var and usable_key(from_variable):
            return Secret(from_variable)
        if given.lower() == "none":
            return Secret("")
        try:
            key = self._lookup.secret(Secret(given)).reveal().strip()
        except ValueError:
            key = ""
        if usable_key(key):
            return Secret(key)
        if usable_key(from_variable):
            return Secret(from_variable)
        if known and not known.key_variables and not section.env_var:
            return Secret("")
        raise Skipped(f"no key in 'api' or {variable or 'the variable of env_var'}")

    # --- llm.providers -----------------------------------------------------------------------------------------

    def provider(self, name: str, section: ProviderSection) -> LlmEntry:
        """An entry of `llm.providers`. Raises `Skipped`."""
        options: dict[str, Any] = {"temperature": section.temperature, "max_tokens": section.max_tokens}
        if section.top_p is not None:
            options["top_p"] = section.top_p
        client = section.http_client
        return LlmEntry(
            name=name,
            provider=name if name in KNOWN else "compatible",
            base_url=(section.base_url or self.base_url(name)).rstrip("/"),
            key=self._provider_key(name, section),
            models=(section.model, section.model, section.model),
            dialect=dialect_of(name, section.dialect),
            options=options,
            price=section.price or (),
            context_tokens=section.context_window or 0,
            max_tokens=section.max_tokens,
            vision=section.vision,
            requests_per_minute=client.requests_per_minute or 0.0,
            concurrent_requests=client.concurrent_requests or 0,
            max_connections=client.max_connections,
            backoff_factor=client.backoff_factor,
            headers=self._headers(name, section),
            timeout=client.read_timeout or self._root.provider_timeout_seconds,
            connect_timeout=client.connect_timeout,
            max_retries=client.max_retries,
        )

    def _provider_key(self, name: str, section: ProviderSection) -> Secret:
        known = KNOWN.get(name)
        if known is None and not section.base_url:
            raise Skipped(f"Unknown provider {name!r} - no API key mapping found")
        variable = section.api_key_env or (key_variable(known, self._variables) if known else "")
        key = self._variables.get(variable, "").strip()
        if variable and not usable_key(key):
            raise Skipped(f"API key {variable!r} not found in environment variables for provider {name!r}")
        return Secret(key)

    def _headers(self, name: str, section: ProviderSection) -> dict[str, str]:
        headers: dict[str, str] = {}
        for header, value in section.headers.items():
            try:
                headers[header] = self._lookup.secret(value).reveal()
            except ValueError as error:
                path = ("llm", "providers", name, "headers", header)
                self.errors.append((path, f"{dotted(path)}: {error}"))
        return headers

    def base_url(self, provider: str) -> str:
        """Where a vendor answers; empty for one that nobody knows."""
        if provider == "openrouter":
            return self._root.openrouter_base_url.rstrip("/")
        known = KNOWN.get(provider)
        return known.base_url if known else ""


def dialect_of(provider: str, given: str | None) -> str:
    """``openai`` or ``anthropic``: as given, else by the provider's name."""
    return "anthropic" if (given or provider) == "anthropic" else "openai"


def merged(one: LlmEntry, first: LlmSection, other: LlmEntry, second: ProviderSection) -> LlmEntry | None:
    """One entry of both: what either names, else the defaults of `llm.providers`; None when they contradict each other."""
    named, also = _named(one, first), _named_there(other, second)
    wishes = {**one.options}
    theirs = {name: other.options[name] for name in _WISHES & second.model_fields_set}
    if _contradict(named, also) or _contradict(wishes, theirs):
        return None
    return replace(other, **{**also, **named}, options={**other.options, **wishes})


_WISHES = frozenset(("temperature", "max_tokens", "top_p"))
_HERE = ("base_url", "dialect", "options_by_level", "price", "context_tokens", "max_tokens", "vision", "timeout")
"""Fields of an entry that a key of the same name in `global.llms` sets."""
_THERE = ("base_url", "dialect", "price", "max_tokens", "vision")
"""The same for `llm.providers`."""


def _contradict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return any(one[name] != other[name] for name in one.keys() & other.keys())


def _named(entry: LlmEntry, section: LlmSection) -> dict[str, Any]:
    """What an entry of `global.llms` says itself, by field."""
    given = section.model_fields_set
    said = {name: getattr(entry, name) for name in _HERE if name in given}
    return {"models": entry.models, "key": entry.key, **said}


def _named_there(entry: LlmEntry, section: ProviderSection) -> dict[str, Any]:
    """What an entry of `llm.providers` says itself, by field."""
    given = section.model_fields_set
    said = {name: getattr(entry, name) for name in _THERE if name in given}
    if "context_window" in given:
        said["context_tokens"] = entry.context_tokens
    if "read_timeout" in section.http_client.model_fields_set:
        said["timeout"] = entry.timeout
    return {"models": entry.models, "key": entry.key, **said}


def _three(models: Any) -> list[str]:
    listed = [models] if isinstance(models, str) else cast("list[Any]", models if isinstance(models, list) else [])
    if len(listed) == 1:
        listed *= 3
    if len(listed) != 3:
        raise Skipped(f"'models' needs 3 entries, has {len(listed)}")
    if not all(isinstance(model, str) and model.strip() for model in listed):
        raise Skipped("'models' must be names such as openai/gpt-4o-mini")
    return [model.strip() for model in listed]


def _split(models: list[str], *, has_url: bool) -> tuple[str, tuple[str, str, str]]:
    """The provider and the models' names without it."""
    first, second, third = models
    if not any("/" in model for model in models):
        if not has_url:
            raise Skipped(f"{first!r} names no provider: write provider/model")
        return "compatible", (first, second, third)
    pairs = [model.partition("/") for model in models]
    providers = {provider for provider, _, _ in pairs}
    if len(providers) != 1 or not all(name for _, _, name in pairs):
        raise Skipped("'models' must be of one provider")
    return providers.pop(), (pairs[0][2], pairs[1][2], pairs[2][2])
