"""``tom policy``: what would become of a call, and why."""

import json
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from tom.cli.directory import locate
from tom.cli.operator import ask_agent, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import document, table, usage

_SITUATIONS: Final = {
    "clean": "nothing untrusted read",
    "tainted": "untrusted text read",
    "tainted_private": "untrusted text and private matters read",
    "standing_yes": "allowed for this conversation",
    "unresolved": "an earlier call may have happened",
    "nobody_to_ask": "nobody there to ask",
}

app = typer.Typer(help="What tools may do without being asked.", no_args_is_help=True)


@app.callback()
def commands() -> None:
    """What tools may do without being asked."""


@app.command()
def explain(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="service.tool, or a name that only one service has.")],
    tainted: Annotated[bool, typer.Option("--tainted", help="Only: untrusted text has been read.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Only: private matters have been read.")] = False,
    argument: Annotated[
        list[str] | None, typer.Option("--argument", metavar="NAME=VALUE", help="An argument of the call; repeatable.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="For whom (default: the only user there is).")
    ] = None,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Ask the agent that runs alone there instead.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a call of TOOL is allowed, asked or denied in each situation, and why. Status 5: no such tool."""
    arguments = _arguments(argument or [])
    place = locate(data)
    query = {"tool": tool} | ({"arguments": json.dumps(arguments)} if arguments else {})
    found = ask_agent(place, whose(place, user, url=url), "GET", f"/policy/explain?{urlencode(query)}", url=url)
    if tainted or private:
        # Private matters alone change nothing: the first column of the table.
        wanted = ("tainted_private" if private else "tainted") if tainted else "clean"
        found["situations"] = [one for one in found["situations"] if one["situation"] == wanted]
    if as_json:
        document(found)
        return
    print(_heading(found))
    table(("when", "verdict", "why"), [_row(one) for one in found["situations"]])


def _arguments(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that is a JSON list, mapping, number or truth is that, everything else is text."""
    arguments: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            usage(f"'{pair}' is not NAME=VALUE")
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return arguments


def _heading(found: dict[str, Any]) -> str:
    who = found["user"] + (f" ({', '.join(found['groups'])})" if found["groups"] else "")
    if found["held"]:
        return f"{found['tool']} for {who}: held"
    confirmed = "proposed" if found["proposed"] else "confirmed"
    outward = ", its arguments leave the house" if found["outward"] else ""
    pin = f", pin {found['pin'][:19]}" if found["pin"] else ""
    return f"{found['tool']} for {who}: {found['class']} ({confirmed}){outward}{pin}"


def _row(one: dict[str, Any]) -> tuple[str, str, str]:
    return _SITUATIONS[one["situation"]], one["verdict"], one["reason"]
