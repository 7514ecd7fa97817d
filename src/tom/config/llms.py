"""Which language models are usable and which one is the default: both tables of the file, the variables, the vendors.

An entry that cannot be used is skipped with a warning; Tom starts without any.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tom.config.agent import LlmEntry
from tom.config.expand import Lookup
from tom.config.llmentries import EntryReader, Skipped, dialect_of, merged
from tom.config.llmsections import ProviderSection
from tom.config.providers import KNOWN, key_variable, usable_key
from tom.config.schema import Path
from tom.config.secret import Secret
from tom.config.sections import Root

SCRIPTED = "scripted"
UNCONFIGURED = "unconfigured"


@dataclass(slots=True, kw_only=True)
class Llms:
    """The usable entries by name in file order, the name of the default one, and what the operator should know.

    ``fallbacks`` follow the chosen LLM; ``tts``, ``triage``, ``behavior`` empty: the default.
    """

    entries: dict[str, LlmEntry] = field(default_factory=dict[str, LlmEntry])
    default: str = UNCONFIGURED
    fallbacks: tuple[str, ...] = ()
    tts: str = ""
    triage: str = ""
    behavior: str = ""
    warnings: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    errors: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    """Whole sentences, each with the key that is to blame."""

    def usable(self, name: str) -> bool:
        """Whether something can be asked under this name."""
        return name == SCRIPTED or name in self.entries


def resolve_llms(root: Root, lookup: Lookup, variables: Mapping[str, str]) -> Llms:
    """Read both tables and choose the default. ``variables`` hold the keys."""
    return _Resolution(root, lookup, variables).run()


class _Resolution:
    def __init__(self, root: Root, lookup: Lookup, variables: Mapping[str, str]) -> None:
        self._root = root
        self._variables = variables
        self._reader = EntryReader(root, lookup, variables)
        self._found = Llms()

    def run(self) -> Llms:
        """Entries first, then the choice among them."""
        found = self._found
        for name, section in self._root.global_.llms.items():
            try:
                found.entries[name], models = self._reader.entry(name, section)
                found.notes.append(_configured(name, models))
            except Skipped as reason:
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
            told = _configured(found.default, [f"{found.default}/{model}"] * 3)
            found.notes = [told if note.startswith(_configured(found.default)) else note for note in found.notes]
        if found.default == UNCONFIGURED:
            found.warnings.append("❌ No LLM is configured")
        found.fallbacks = self._fallbacks()
        special = self._root.global_
        found.tts = self._special("llm_tts", special.llm_tts)
        found.triage = self._special("llm_triage", special.llm_triage)
        found.behavior = self._special("llm_behavior", special.llm_behavior)
        found.errors += self._reader.errors
        return found

    def _add_provider(self, name: str, section: ProviderSection) -> None:
        found = self._found
        try:
            entry = self._reader.provider(name, section)
        except Skipped as reason:
            found.warnings.append(f"⚠️ {reason}")
            return
        other = found.entries.get(name)
        if other is None:
            found.notes.append(_configured(name, [f"{name}/{section.model}"] * 3))
            found.entries[name] = entry
            return
        one = merged(other, self._root.global_.llms[name], entry, section)
        if one is None:
            sentence = f"llm.providers.{name}: global.llms.{name} has different values"
            found.errors.append((("llm", "providers", name), sentence))
        else:
            found.entries[name] = one

    # --- who stands in ------------------------------------------------------------------------------------------

    def _fallbacks(self) -> tuple[str, ...]:
        """The names in their order: as written, else all usable ones; never the scripted model."""
        root, found = self._root, self._found
        written = root.global_.llm_fallbacks
        if written is None:
            return tuple(found.entries)
        known = {*root.global_.llms, *root.llm.providers, *found.entries}
        for place, name in enumerate(written):
            if name == SCRIPTED:
                found.errors.append(
                    (("global", "llm_fallbacks"), f"global.llm_fallbacks[{place}]: {SCRIPTED!r} is never a fallback")
                )
            elif name not in known and not self._adopted(name):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                found.errors.append(
                    (("global", "llm_fallbacks"), f"global.llm_fallbacks[{place}]: unknown LLM {name!r}{hint}")
                )
        return tuple(name for name in dict.fromkeys(written) if name in found.entries)

    def _special(self, key: str, wanted: str | None) -> str:
        """The LLM for one purpose; empty for the default one."""
        if wanted and not self._found.usable(wanted):
            self._found.warnings.append(f"⚠️ global.{key}: {wanted!r} is not usable, using the default")
            return ""
        return wanted or ""

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
                key = "default_provider" if refusal.startswith("DEFAULT_") else "mcp_agent_llm"
                found.errors.append(((key,), refusal.format(", ".join(choices))))
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
            dialect=dialect_of(name, None),
            max_connections=0,
            base_url=self._reader.base_url(name),
            key=Secret(key),
            models=(first, second, third),
            timeout=self._root.provider_timeout_seconds,
        )
        self._found.notes.append(_configured(name, [f"{name}/{model}" for model in models]))
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


def _configured(name: str, models: Sequence[str] = ()) -> str:
    """The note that an entry can be used; without ``models`` only how it begins."""
    return f"✅ Configured LLM {name!r} with models: {list(models) if models else ''}"
