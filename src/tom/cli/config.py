"""`tom config`: check the settings, write the first ones, enter a language model."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tom.cli.directory import locate
from tom.cli.explain import example, explain
from tom.cli.options import ConfigOption, DataOption, JsonOption, StandaloneOption
from tom.config.invalid import ConfigInvalid, problem
from tom.config.settings import Settings

app = typer.Typer(help="Check, explain and write settings.", no_args_is_help=True)
app.command("explain")(explain)
app.command("example")(example)


@app.command()
def check(
    data: DataOption = None,
    config: ConfigOption = None,
    standalone: StandaloneOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say all that is wrong with the settings; exit status 1 when Tom would not start with them."""
    errors: list[str] = []
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    from tom.config.loading import Loading

    loading = Loading(locate(data), config, os.environ, alone=standalone)
    try:
        settings = loading.run()
        wrong, doubts = asyncio.run(_archive(locate(data), settings))
        source = loading.faults.source(("history_storage_backend",))
        notes, warnings = settings.notes, (*settings.warnings, *doubts)
        errors = [problem(source, line) for line in wrong]
    except ConfigInvalid as error:
        errors = error.errors
    if as_json:
        print(
            json.dumps({"ok": not errors, "errors": errors, "warnings": warnings, "notes": notes}, ensure_ascii=False)
        )
    else:
        for line in (*notes, *warnings):
            print(line)
        for line in errors:
            typer.echo(line, err=True)
        if not errors:
            print("✅ The configuration is valid")
    raise typer.Exit(bool(errors))


async def _archive(directory: Path, settings: Settings) -> tuple[list[str], list[str]]:
    """What keeps the archive from being written, and what may pass; each a sentence with its cure."""
    if settings.template.archive.backend == "none":
        return [], []
    from tom.cli.checks.archive import check_archive
    from tom.cli.checks.finding import House, Verdict

    found = [finding async for finding in check_archive(House(directory, settings, None))]
    told = {
        verdict: [f"The archive {one.seen}; {one.cure}" for one in found if one.verdict is verdict]
        for verdict in Verdict
    }
    return told[Verdict.FAIL], [f"⚠️ {line}" for line in told[Verdict.WARN]]


@app.command()
def init(
    data: DataOption = None,
    user: Annotated[str, typer.Option("--user", help="The first user; else your login name.")] = "",
) -> None:
    """Write a first config.yml; an existing one is never touched."""
    from tom.config.init import write_first_config

    try:
        written = write_first_config(locate(data), user=user)
    except FileExistsError as error:
        fail(f"❌ {error.args[0]} is there already; nothing was changed")
    except (ValueError, OSError) as error:
        fail(f"❌ {error}")
    print(f"✅ {written.path} written: LLM {written.llm}, admin {written.user}")


@app.command()
def adopt(
    provider: Annotated[str, typer.Argument(help="openai, groq, openrouter, anthropic, gemini, mistral, …")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a language model whose key is in the environment or .env, and make it the default."""
    from tom.config.init import adopt as enter

    try:
        models = enter(config or locate(data) / "config.yml", provider)
    except ConfigInvalid as error:
        fail(error.message)
    print(f"✅ LLM {provider!r} entered with models: {list(models)}")


def fail(message: str) -> NoReturn:
    """Print a sentence on stderr and end with exit status 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
