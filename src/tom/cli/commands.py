"""The command line as Typer sees it. What a command needs is imported when it runs."""

import json
import platform
from typing import Annotated, Any

import typer

import tom
from tom.cli import approvals, archive, audit, config, history, llm, policy, services, token, triage, user
from tom.cli.chat import chat
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Status

app = typer.Typer(
    name="tom",
    help="A self-hosted assistant with an isolated agent for each person.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_AS_IS: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit status. Raises `Refused` and what the command met."""
    if arguments[:1] == ["--version"]:
        show_version(as_json="--json" in arguments)
        return Status.DONE
    try:
        app(arguments, prog_name="tom")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Status.FAILED
    return Status.DONE


def show_version(*, as_json: bool) -> None:
    """Tom's version, and with JSON that of Python and SQLite."""
    if not as_json:
        print(f"tom {tom.__version__}")
        return
    import apsw

    print(
        json.dumps({"tom": tom.__version__, "python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()})
    )


@app.command("up", context_settings=_AS_IS)
def up(given: typer.Context) -> None:
    """Start everything that one machine needs: gateway, and an agent for each person on demand."""
    from tom.cli import up as program

    raise typer.Exit(program.run(given.args))


@app.command("gateway", context_settings=_AS_IS)
def gateway(given: typer.Context) -> None:
    """As `up`, but makes nothing: settings and certificate must be there."""
    from tom.cli import gateway as program

    raise typer.Exit(program.run(given.args))


@app.command("agent", context_settings=_AS_IS)
def agent(given: typer.Context) -> None:
    """Serve one person's agent by hand, or alone with --standalone."""
    from tom.cli import agent as program

    raise typer.Exit(program.run(given.args))


@app.command("health")
def health(
    program: Annotated[str, typer.Argument(help="gateway or agent")] = "gateway",
    data: DataOption = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port it listens on (default: as config.yml says; agent: 8080).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a program on this machine whether it lives: status 0 or 1, and the reason."""
    from tom.cli.health import show

    raise typer.Exit(show(program, data, port, as_json=as_json))


@app.command("doctor")
def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check machine, settings, certificate, agents, models, services and stored history; each with its cure."""
    from tom.cli.doctor import examine

    raise typer.Exit(examine(data, as_json=as_json))


app.command("chat")(chat)
app.add_typer(approvals.app, name="approvals")
app.add_typer(user.app, name="user")
app.add_typer(token.app, name="token")
app.add_typer(config.app, name="config")
app.add_typer(triage.app, name="triage")
app.add_typer(services.app, name="services")
app.add_typer(policy.app, name="policy")
app.add_typer(llm.app, name="llm")
app.add_typer(history.app, name="history")
app.add_typer(audit.app, name="audit")
app.add_typer(archive.app, name="archive")
