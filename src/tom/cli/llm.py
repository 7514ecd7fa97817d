"""``tom llm``: the language models of config.yml: list them, try them out, enter others."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tom.cli.directory import existing, locate
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table

if TYPE_CHECKING:
    from tom.config.agent import LlmEntry, Price
    from tom.config.settings import Settings
    from tom.llm.probe import Probe

app = typer.Typer(help="Language models: list, try out, enter.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="An entry of global.llms (default: all).")]
ModelsOption = Annotated[
    str, typer.Option("--models", metavar="M[,M,M]", help="Models for easy, usual and hard questions; one is for all.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Write it without asking.")]
HEAD = ("name", "level", "model", "answers", "calls tools", "context", "price per million")
WORDS = {
    "key": "the key is refused",
    "credit": "there is no credit, or too many requests",
    "model": "there is no such model",
    "network": "nothing answers there",
    "request": "the request is refused",
    "answer": "the answer cannot be read",
}


@app.command("list")
def list_models(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the usable LLMs with their models, who stands in for whom, and what keeps others from being used."""
    settings = load(locate(data))
    entries = [describe(settings, entry) for entry in settings.llms.values()]
    skipped = [line for line in settings.warnings if "LLM" in line or "API key" in line]
    if as_json:
        document({"default": settings.llm, "llms": entries, "warnings": skipped})
        return
    rows = [
        ("*" if entry["default"] else "", entry["name"], entry["dialect"], *entry["models"], entry["stands_in"])
        for entry in entries
    ]
    if rows:
        table(("", "name", "dialect", "easy", "usual", "hard", "stands in"), rows)
    if settings.llm == "scripted":
        notice("The scripted model answers by rules; enter a language model with: tom llm add PROVIDER")
    for line in skipped:
        notice(line)


@app.command("test")
def try_out(
    name: NameArgument = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask each model for eight tokens and one tool call; exit status 7 when one does not answer."""
    settings = load(locate(data))
    entries = [entry for entry in settings.llms.values() if name in {"", entry.name}]
    if not entries:
        _nothing_to_test(settings, name)
    found = [(entry, asyncio.run(probe(entry))) for entry in entries]
    if as_json:
        document({"llms": [{"name": entry.name, "levels": [shown(one) for one in probes]} for entry, probes in found]})
    else:
        rows = [row(entry.name, level, one) for entry, probes in found for level, one in enumerate(probes)]
        table(HEAD, rows)
    if not all(one.works for _, probes in found for one in probes):
        raise typer.Exit(Status.UNREACHABLE)


@app.command()
def add(
    provider: Annotated[
        str, typer.Argument(metavar="[PROVIDER]", help="openai, anthropic, groq, … or compatible.")
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Its name here (default: the provider's).")] = "",
    models: ModelsOption = "",
    base_url: Annotated[str, typer.Option("--base-url", metavar="URL", help="Where it answers, for compatible.")] = "",
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from the first line of stdin.")] = False,
    no_key: Annotated[bool, typer.Option("--no-key", help="The endpoint wants no key.")] = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter a language model: its key (typed unseen, kept in .env), a try, then config.yml."""
    from tom.cli.llmadd import Wish, enter

    wish = Wish(provider, name, _split(models), base_url, key_stdin=key_stdin, no_key=no_key, yes=yes, quiet=as_json)
    enter(existing(locate(data)), wish, as_json=as_json)


@app.command()
def detect(
    models: ModelsOption = "",
    port: Annotated[
        list[int] | None,
        typer.Option("--port", metavar="N", help="Ask this port instead of the usual ones; repeatable."),
    ] = None,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for model servers on this machine (one request to each usual port), try one out and enter it."""
    from tom.cli.llmdetect import look

    look(existing(locate(data)), _split(models), port or [], yes=yes, as_json=as_json)


# --- what others use -----------------------------------------------------------------------------------------------


def load(directory: Path) -> "Settings":
    """The settings. Raises `ConfigInvalid`."""
    from tom.config.settings import Settings

    return Settings.load(existing(directory))


def describe(settings: "Settings", entry: "LlmEntry") -> dict[str, Any]:
    """An entry for people and scripts; never its key."""
    order = settings.template.llm_fallbacks
    place = order.index(entry.name) + 1 if entry.name in order and entry.name != settings.llm else 0
    return {
        "name": entry.name,
        "default": entry.name == settings.llm,
        "dialect": entry.dialect,
        "base_url": entry.base_url,
        "models": list(entry.models),
        "has_key": bool(entry.key),
        "stands_in": str(place) if place else "",
    }


async def probe(entry: "LlmEntry") -> "list[Probe]":
    """Try all three levels out; a model of several levels once."""
    from tom.llm.probe import probe_level

    tried: dict[str, Probe] = {}
    for level, model in enumerate(entry.models):
        if model not in tried:
            notice(f"… {entry.name} level {level}: {model}")
            tried[model] = await probe_level(entry, level)
    return [tried[model] for model in entry.models]


def shown(one: "Probe") -> dict[str, Any]:
    """A probe for scripts."""
    found: dict[str, Any] = {"model": one.model, "works": one.works}
    if not one.works:
        return found | {"problem": one.problem, "error": one.error}
    price = {"input": one.price.input, "output": one.price.output} if one.price else None
    return found | {
        "ms": one.ms,
        "calls_tools": one.calls_tools,
        "context_tokens": one.context_tokens or None,
        "price": price,
    }


def row(name: str, level: int, one: "Probe") -> tuple[str, ...]:
    """A probe as a line of a table."""
    if not one.works:
        return name, str(level), one.model, f"no: {WORDS.get(one.problem, one.problem)} ({one.error})", "", "", ""
    context = f"{one.context_tokens:,}" if one.context_tokens else "?"
    calls = {True: "yes", False: "no", None: "?"}[one.calls_tools]
    return name, str(level), one.model, f"{one.ms} ms", calls, context, in_words(one.price)


def in_words(price: "Price | None") -> str:
    """A price for people."""
    return f"{price.input:g} in, {price.output:g} out" if price is not None else "?"


def _split(models: str) -> list[str]:
    return [model.strip() for model in models.split(",") if model.strip()]


def _nothing_to_test(settings: "Settings", name: str) -> None:
    if name:
        known: Sequence[str] = list(settings.llms)
        hint = f"there are: {', '.join(known)}" if known else "enter one with: tom llm add PROVIDER"
        raise Refused(f"LLM '{name}' is not usable", status=Status.NOT_FOUND, hint=hint, code="unknown_llm")
    raise Refused(
        "No language model is set up",
        status=Status.NOT_FOUND,
        hint="enter one with: tom llm add PROVIDER",
        code="no_llm",
    )
