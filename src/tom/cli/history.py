"""``tom history``: conversations written out, and what retention would erase."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tom.cli.directory import locate
from tom.cli.operator import ask_agent, segment, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import document, table, usage

_POLICIES: Final = {
    "token_limit": "the newest runs of {limit} tokens together",
    "message_count": "the newest {limit} messages",
    "time_based": "what is younger than {limit:g} days",
}

app = typer.Typer(help="What is kept of conversations.", no_args_is_help=True)

UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Whose (default: the only user there is).")
]
UrlOption = Annotated[str, typer.Option("--url", metavar="URL", help="Ask the agent that runs alone there instead.")]


@app.callback()
def commands() -> None:
    """What is kept of conversations."""


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be erased now; nothing is.")] = False,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the retention policy would erase of each conversation. Erasing is the agent's: after runs, and hourly."""
    if not dry_run:
        usage("The agent erases by itself, after each run and hourly. To see what would go: --dry-run")
    place = locate(data)
    found: dict[str, Any] = ask_agent(place, whose(place, user, url=url), "GET", "/history/retention", url=url)
    if as_json:
        document(found)
        return
    kept = _POLICIES.get(found["policy"])
    print(f"Kept: {kept.format(limit=found['limit'])}" if kept else "Kept: everything")
    if kept and not found["sessions"]:
        print("Nothing would be erased.")
    elif kept:
        rows = [(cut["session_id"], str(cut["events"]), str(cut["first_seq"])) for cut in found["sessions"]]
        table(("conversation", "events that go", "then begins at"), rows)


@app.command()
def export(
    session: Annotated[str, typer.Argument(metavar="ID", help="The conversation.")],
    form: Annotated[Literal["json", "markdown", "openai"], typer.Option("--format", help="json is complete.")] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there; not over a file that is there.")
    ] = None,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
) -> None:
    """Write a conversation out. Status 5: there is no such conversation."""
    place = locate(data)
    path = f"/sessions/{segment(session)}/export?format={form}"
    found = ask_agent(place, whose(place, user, url=url), "GET", path, url=url)
    if output is None:
        if isinstance(found, str):
            print(found, end="")
        else:
            document(found)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(found if isinstance(found, str) else _rendered(found))
    except FileExistsError:
        usage(f"{output} is there already")


def _rendered(found: Any) -> str:
    import json

    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"
