"""Entering a language model: provider, key, a try, then `.env` and config.yml; nothing is written before it works."""

import asyncio
import getpass
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tom.cli import llm as shared
from tom.cli.output import Refused, Status, document, notice, table, usage
from tom.config.agent import LlmEntry
from tom.config.dotenv import store_variable
from tom.config.edit import add_llm
from tom.config.environment import Environment
from tom.config.providers import KNOWN, key_variable, usable_key
from tom.config.secret import Secret
from tom.config.values import web_url
from tom.config.vendors import ModelFacts, choose_models, model_facts
from tom.llm.probe import Probe

COMPATIBLE = "compatible"
TRIES = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What was said on the command line; what is empty is asked, or has a default."""

    provider: str = ""
    name: str = ""
    models: list[str] | None = None
    base_url: str = ""
    key_stdin: bool = False
    no_key: bool = False
    yes: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, the variable that holds it, and whether it must be stored there."""

    secret: Secret
    variable: str = ""
    fresh: bool = False


def enter(directory: Path, wish: Wish, *, as_json: bool) -> None:
    """Ask what is missing, try the models out, then write. Raises `Refused` and `ConfigInvalid`."""
    config = directory / "config.yml"
    if not config.exists():
        raise Refused(
            f"There is no {config}", status=Status.UNUSABLE, hint="make it with: tom config init", code="no_config"
        )
    provider = wish.provider or _ask_provider()
    if provider != COMPATIBLE and provider not in KNOWN:
        usage(f"Unknown provider '{provider}': one of {', '.join((*KNOWN, COMPATIBLE))}")
    base_url = _base_url(provider, wish)
    variables = Environment(os.environ, Path.cwd(), directory).values
    name = wish.name or (provider if provider in KNOWN else "house")
    if name in shared.load(directory).llms:
        raise Refused(f"LLM '{name}' is there already", hint="choose another with --name", code="llm_exists")
    key, entry, probes = _tried(provider, name, base_url, wish, variables)
    if not as_json:
        table(shared.HEAD, [shared.row(name, level, one) for level, one in enumerate(probes)])
    if not all(one.works for one in probes):
        _give_up(probes, wish)
    write(directory, entry, key)
    if as_json:
        document({"name": name, "env_var": key.variable, "levels": [shared.shown(one) for one in probes]})
    else:
        kept = f"; its key is in {directory / '.env'}" if key.fresh else ""
        print(f"✅ {name} entered and chosen as the default{kept}")
        notice("A running Tom takes it at its next start.")


def _tried(
    provider: str, name: str, base_url: str, wish: Wish, variables: dict[str, str]
) -> tuple[_Key, LlmEntry, list[Probe]]:
    """The key, the entry and what became of trying it; a typed key that is refused is asked for again."""
    left = TRIES
    while True:
        key = _key(provider, name, wish, variables)
        listed = model_facts(provider, base_url, key.secret)
        entry = _entry(provider, name, base_url, key.secret, _models(provider, wish, listed))
        probes = [_known(one, listed) for one in asyncio.run(shared.probe(entry))]
        left -= 1
        typed = key.fresh and not wish.key_stdin and _at_terminal()
        if not (left and typed and any(one.problem == "key" for one in probes)):
            return key, entry, probes
        notice("❌ The key is refused; type it again.")


def write(directory: Path, entry: LlmEntry, key: _Key) -> None:
    """Store the key where it is new, then enter the LLM in config.yml; comments stay."""
    if key.fresh:
        store_variable(directory, key.variable, key.secret.reveal())
    known = KNOWN.get(entry.provider)
    models = tuple(f"{entry.provider}/{model}" for model in entry.models)
    add_llm(
        directory / "config.yml",
        entry.name,
        key.variable,
        (models[0], models[1], models[2]),
        api="" if key.variable or (known and not known.key_variables) else "none",
        base_url="" if known and known.base_url == entry.base_url else entry.base_url,
    )


def _entry(provider: str, name: str, base_url: str, key: Secret, models: tuple[str, str, str]) -> LlmEntry:
    dialect = "anthropic" if provider == "anthropic" else "openai"
    return LlmEntry(name=name, provider=provider, base_url=base_url, key=key, models=models, dialect=dialect)


def _known(one: Probe, listed: dict[str, ModelFacts] | None) -> Probe:
    """The probe with what the vendor's list says of its model."""
    facts = (listed or {}).get(one.model)
    return replace(one, context_tokens=facts.context_tokens, price=facts.price) if facts and one.works else one


def _base_url(provider: str, wish: Wish) -> str:
    if not wish.base_url:
        if provider == COMPATIBLE:
            usage("compatible needs its address: --base-url http://host:port/v1")
        return KNOWN[provider].base_url
    try:
        return web_url(wish.base_url).rstrip("/")
    except ValueError as error:
        usage(f"--base-url {error}")


def _models(provider: str, wish: Wish, listed: dict[str, ModelFacts] | None) -> tuple[str, str, str]:
    """As wished, else the vendor's usual ones, or what it lists instead of them."""
    if wish.models:
        given = wish.models * 3 if len(wish.models) == 1 else wish.models
        if len(given) != 3:
            usage(f"--models needs 1 or 3 names, has {len(given)}")
        first, second, third = (
            model.removeprefix(f"{provider}/") if provider != "openrouter" else model for model in given
        )
        return first, second, third
    if provider in KNOWN:
        return choose_models(KNOWN[provider], list(listed) if listed else None)
    if not listed:
        usage("The endpoint does not list its models: name them with --models")
    first = next(iter(listed))
    return first, first, first


def _key(provider: str, name: str, wish: Wish, variables: dict[str, str]) -> _Key:
    """From the variable where it is set, else from stdin or typed unseen."""
    known = KNOWN.get(provider)
    if wish.no_key or (known and not known.key_variables):
        return _Key(Secret(""))
    variable = key_variable(known, variables) if known else re.sub(r"[^A-Z0-9]+", "_", name.upper()) + "_API_KEY"
    if usable_key(variables.get(variable, "")):
        return _Key(Secret(variables[variable].strip()), variable)
    if wish.key_stdin:
        typed = sys.stdin.readline().strip()
    elif _at_terminal():
        typed = getpass.getpass(f"Key of {provider} (not shown): ").strip()
    else:
        usage(f"No key: set {variable}, or give it with --key-stdin")
    if not usable_key(typed):
        usage("That is no key")
    return _Key(Secret(typed), variable, fresh=True)


def _ask_provider() -> str:
    if not _at_terminal():
        usage("Name the provider: tom llm add PROVIDER")
    notice(f"Providers: {', '.join((*KNOWN, COMPATIBLE))}")
    return input("Provider: ").strip().lower()


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _give_up(probes: list[Probe], wish: Wish) -> None:
    """Nothing works yet: enter it all the same after a yes, else end here."""
    failed = next(one for one in probes if not one.works)
    words = shared.WORDS.get(failed.problem, failed.problem)
    if wish.yes:
        notice(f"⚠️ {failed.model} does not answer: {words}")
        return
    if not wish.quiet and _at_terminal() and input("Enter it all the same? [y/N] ").strip().lower() in {"y", "yes"}:
        return
    raise Refused(
        f"{failed.model} does not answer: {words}; nothing was written",
        status=Status.UNREACHABLE,
        hint="to enter it all the same: --yes",
        code=f"llm_{failed.problem}",
    )
