"""Which language models are usable and which one is the default: both tables of the file, the variables, the vendors.

An entry that cannot be used is skipped with a warning; Tom starts without any.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tom.config.agent import LlmEntry
from tom.config.entries import LlmSection, ProviderSection
from tom.config.expand import Lookup
from tom.config.providers import KNOWN, key_variable, usable_key
from tom.config.secret import Secret
from tom.config.sections import Root

SCRIPTED = "scripted"
UNCONFIGURED = "unconfigured"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(slots=True, kw_only=True)
class Llms:
    """The usable entries by name in file order, the name of the default one, and what the operator should know."""

    entries: dict[str, LlmEntry] = field(default_factory=dict[str, LlmEntry])
    default: str = UNCONFIGURED
    warnings: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])

    def usable(self, name: str) -> bool:
        """Whether something can be asked under this name."""
        return name == SCRIPTED or name in self.entries


class _Skipped(Exception):
    """Why an entry cannot be used."""


def resolve_llms(root: Root, lookup: Lookup, variables: Mapping[str, str]) -> Llms:
    """Read both tables and choose the default. ``variables`` hold the keys."""
    return _Resolution(root, lookup, variables).run()


class _Resolution:
    def __init__(self, root: Root, lookup: Lookup, variables: Mapping[str, str]) -> None:
        self._root = root
        self._lookup = lookup
        self._variables = variables
        self._found = Llms()

    def run(self) -> Llms:
        """Entries first, then the choice among them."""
        found = self._found
        for name, section in self._root.global_.llms.items():
            try:
                found.entries[name], models = self._entry(name, section)
                found.notes.append(f"✅ Configured LLM {name!r} with models: {models}")
            except _Skipped as reason:
                found.warnings.append(f"⚠️ LLM {name!r} skipped: {reason}")
        for name, section in self._root.llm.providers.items():
            self._add_provider(name, section)
        first, second = (self._variables.get(name) for name in KNOWN["openrouter"].key_variables)
        if first and second and first != second:
            found.warnings.append("⚠️ OPENROUTER_KEY and OPENROUTER_API_KEY differ: OPENROUTER_KEY is used")
        found.warnings += self._unused_keys()
        found.default = self._choose()
        model = self._root.mcp_agent_model
        if model and found.default in found.entries:
            found.entries[found.default] = replace(found.entries[found.default], models=(model, model, model))
        if found.default == UNCONFIGURED:
            found.warnings.append("❌ No LLM is configured")
        return found

    # --- global.llms -------------------------------------------------------------------------------------------

    def _entry(self, name: str, section: LlmSection) -> tuple[LlmEntry, list[str]]:
        written = _three(section.models)
        provider, models = _split(written, has_url=bool(section.base_url))
        base_url = (section.base_url or self._base_url(provider)).rstrip("/")
        if not base_url:
            reason = "needs 'base_url'" if provider == "compatible" else "is unknown and there is no 'base_url'"
            raise _Skipped(f"provider {provider!r} {reason}")
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
            options=options,
            timeout=section.timeout or self._root.provider_timeout_seconds,
        )
        return entry, written

    def _key(self, section: LlmSection, provider: str) -> Secret:
        known = KNOWN.get(provider)
        if section.env_var is not None and not _VARIABLE.fullmatch(section.env_var):
            raise _Skipped("'env_var' is not the name of a variable")
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
        raise _Skipped(f"no key in 'api' or {variable or 'the variable of env_var'}")

    # --- llm.providers -----------------------------------------------------------------------------------------

    def _add_provider(self, name: str, section: ProviderSection) -> None:
        found = self._found
        try:
            entry = self._provider(name, section)
        except _Skipped as reason:
            found.warnings.append(f"⚠️ {reason}")
            return
        other = found.entries.get(name)
        if other is None:
            found.notes.append(f"✅ Configured LLM {name!r} with models: {[f'{name}/{section.model}'] * 3}")
        elif other != entry:
            found.errors.append(f"llm.providers.{name}: global.llms.{name} has different values")
        found.entries[name] = entry

    def _provider(self, name: str, section: ProviderSection) -> LlmEntry:
        options: dict[str, Any] = {"temperature": section.temperature, "max_tokens": section.max_tokens}
        if section.top_p is not None:
            options["top_p"] = section.top_p
        client = section.http_client
        return LlmEntry(
            name=name,
            provider=name if name in KNOWN else "compatible",
            base_url=(section.base_url or self._base_url(name)).rstrip("/"),
            key=self._provider_key(name, section),
            models=(section.model, section.model, section.model),
            options=options,
            headers=self._headers(name, section),
            timeout=client.read_timeout or self._root.provider_timeout_seconds,
            connect_timeout=client.connect_timeout,
            max_retries=client.max_retries,
        )

    def _provider_key(self, name: str, section: ProviderSection) -> Secret:
        known = KNOWN.get(name)
        if known is None and not section.base_url:
            raise _Skipped(f"Unknown provider {name!r} - no API key mapping found")
        variable = section.api_key_env or (key_variable(known, self._variables) if known else "")
        key = self._variables.get(variable, "").strip()
        if variable and not usable_key(key):
            raise _Skipped(f"API key {variable!r} not found in environment variables for provider {name!r}")
        return Secret(key)

    def _headers(self, name: str, section: ProviderSection) -> dict[str, str]:
        headers: dict[str, str] = {}
        for header, value in section.headers.items():
            try:
                headers[header] = self._lookup.secret(value).reveal()
            except ValueError as error:
                self._found.errors.append(f"llm.providers.{name}.headers.{header}: {error}")
        return headers

    # --- the default -------------------------------------------------------------------------------------------

    def _choose(self) -> str:
        root, found = self._root, self._found
        if root.default_provider != "mcp-agent":
            return self._named(root.default_provider, "DEFAULT_PROVIDER must be one of: mcp-agent, {}.")
        if root.mcp_agent_llm:
            unsupported = f"Unsupported MCP agent LLM provider {root.mcp_agent_llm!r}. Supported values are {{}}."
            return self._named(root.mcp_agent_llm, unsupported)
        if root.llm.active:
            return self._named(root.llm.active, "")
        wanted = root.global_.llm
        if wanted is None:
            return next(iter(found.entries), None) or self._from_keys() or UNCONFIGURED
        if found.usable(wanted) or self._adopted(wanted):
            return wanted
        instead = next(iter(found.entries), UNCONFIGURED)
        tail = f", using {instead!r}" if instead != UNCONFIGURED else ""
        found.warnings.append(f"⚠️ LLM {wanted!r} is not usable{tail}")
        return instead

    def _named(self, name: str, refusal: str) -> str:
        """The provider of this name, or none: never another one instead."""
        found = self._found
        if found.usable(name) or self._adopted(name):
            return name
        known = KNOWN.get(name)
        if known is None and name not in {**self._root.llm.providers, **self._root.global_.llms}:
            if refusal:
                choices = dict.fromkeys((*KNOWN, SCRIPTED, *self._root.llm.providers, *self._root.global_.llms))
                found.errors.append(refusal.format(", ".join(choices)))
            else:
                found.warnings.append(f"⚠️ Unknown provider {name!r} - no API key mapping found")
        elif name == "openrouter" and self._root.mcp_agent_llm == name:
            found.warnings.append("⚠️ OPENROUTER_KEY must be configured when MCP_AGENT_LLM is set to 'openrouter'.")
        elif known is not None and name not in self._root.llm.providers:
            variable = key_variable(known, self._variables)
            found.warnings.append(f"⚠️ API key {variable!r} not found in environment variables for provider {name!r}")
        return UNCONFIGURED

    def _from_keys(self) -> str | None:
        """Nothing is written down: OpenRouter, else the first vendor whose key is there."""
        names = ("openrouter", *(name for name, known in KNOWN.items() if known.key_variables))
        return next((name for name in names if self._adopted(name)), None)

    def _adopted(self, name: str) -> bool:
        """Make an entry for a vendor that no table names, when its key is there."""
        known = KNOWN.get(name)
        if known is None or name in self._root.llm.providers or name in self._root.global_.llms:
            return False
        variable = key_variable(known, self._variables)
        key = self._variables.get(variable, "").strip()
        if variable and not usable_key(key):
            return False
        models = (self._root.openrouter_model,) * 3 if name == "openrouter" else known.models
        first, second, third = models
        self._found.entries[name] = LlmEntry(
            name=name,
            provider=name,
            base_url=self._base_url(name),
            key=Secret(key),
            models=(first, second, third),
            timeout=self._root.provider_timeout_seconds,
        )
        self._found.notes.append(f"✅ Configured LLM {name!r} with models: {[f'{name}/{model}' for model in models]}")
        return True

    def _unused_keys(self) -> list[str]:
        """Keys that came after config.yml was written."""
        root = self._root
        if not (root.global_.llm or root.global_.llms or root.llm.providers):
            return []
        used = {entry.provider for entry in self._found.entries.values()}
        named = {*root.global_.llms, *root.llm.providers, root.global_.llm, root.llm.active, root.mcp_agent_llm}
        return [
            f"⚠️ {variable} is set, but no LLM uses it; run 'tom config adopt {name}'"
            for name, known in KNOWN.items()
            if known.key_variables and name not in used and name not in named
            for variable in (key_variable(known, self._variables),)
            if usable_key(self._variables.get(variable, ""))
        ]

    def _base_url(self, provider: str) -> str:
        if provider == "openrouter":
            return self._root.openrouter_base_url.rstrip("/")
        known = KNOWN.get(provider)
        return known.base_url if known else ""


def _three(models: Any) -> list[str]:
    listed = [models] if isinstance(models, str) else cast("list[Any]", models if isinstance(models, list) else [])
    if len(listed) == 1:
        listed *= 3
    if len(listed) != 3:
        raise _Skipped(f"'models' needs 3 entries, has {len(listed)}")
    if not all(isinstance(model, str) and model.strip() for model in listed):
        raise _Skipped("'models' must be names such as openai/gpt-4o-mini")
    return [model.strip() for model in listed]


def _split(models: list[str], *, has_url: bool) -> tuple[str, tuple[str, str, str]]:
    """The provider and the models' names without it."""
    first, second, third = models
    if not any("/" in model for model in models):
        if not has_url:
            raise _Skipped(f"{first!r} names no provider: write provider/model")
        return "compatible", (first, second, third)
    pairs = [model.partition("/") for model in models]
    providers = {provider for provider, _, _ in pairs}
    if len(providers) != 1 or not all(name for _, _, name in pairs):
        raise _Skipped("'models' must be of one provider")
    return providers.pop(), (pairs[0][2], pairs[1][2], pairs[2][2])
