"""`tom config`: check the settings, write the first ones, enter a language model."""

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tom.cli.directory import locate
from tom.cli.explain import example, explain
from tom.cli.options import ConfigOption, DataOption, JsonOption, StandaloneOption
from tom.config.invalid import ConfigInvalid, problem
from tom.config.settings import Settings

if TYPE_CHECKING:
    from tom.cli.checks.finding import Finding

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
        directory = locate(data)
        wrong, doubts = asyncio.run(_archive(directory, settings))
        refused, away = asyncio.run(_redis(directory, settings))
        notes, warnings = settings.notes, (*settings.warnings, *doubts, *away)
        errors = [problem(loading.faults.source(("history_storage_backend",)), line) for line in wrong]
        errors += [problem(loading.faults.source(("redis_url",)), line) for line in refused]
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
    from tom.cli.checks.finding import House

    return _apart([finding async for finding in check_archive(House(directory, settings, None))], "The archive ")


async def _redis(directory: Path, settings: Settings) -> tuple[list[str], list[str]]:
    """As `_archive`, of the Redis that sessions and limits share."""
    if not settings.doors.redis.url:
        return [], []
    from tom.cli.checks.finding import House
    from tom.cli.checks.redis import check_redis

    return _apart([finding async for finding in check_redis(House(directory, settings, None))])


def _apart(found: "list[Finding]", begin: str = "") -> tuple[list[str], list[str]]:
    """What is wrong, and what may pass."""
    from tom.cli.checks.finding import Verdict

    wrong = [f"{begin}{one.seen}; {one.cure}" for one in found if one.verdict is Verdict.FAIL]
    return wrong, [f"⚠️ {begin}{one.seen}; {one.cure}" for one in found if one.verdict is Verdict.WARN]


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
