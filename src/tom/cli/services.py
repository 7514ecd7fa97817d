"""``tom services``: the MCP services of a person, their tools, and what awaits review."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tom.cli.directory import locate
from tom.cli.operator import ask_agent, segment, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table, usage

CLASSES: Final = ("read_public", "read_private", "write_own", "write_external", "destructive")
_COLOURS: Final = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
_PLAIN: Final = "\x1b[0m"

app = typer.Typer(help="A person's MCP services: list tools, see what changed, review.", no_args_is_help=True)
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Whose services (default: the only user there is).")
]
UrlOption = Annotated[str, typer.Option("--url", metavar="URL", help="Ask the agent that runs alone there instead.")]
NameArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="A service's name, as in config.yml.")]
ServiceArgument = Annotated[
    str | None, typer.Argument(metavar="[SERVICE]", help="A service's name (default: all with something to see).")
]


@app.command("list")
def list_services(
    tools: Annotated[bool, typer.Option("--tools", help="A line for each tool instead of each service.")] = False,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List services with their state, or all their tools with class, review and whether they are held."""
    asking = _Asking(data, user, url)
    found = asking.services()
    if as_json:
        document({"user": asking.user, "services": found})
        return
    if not found:
        notice("No services are configured; see: docs/howto/add-a-service.md")
        return
    if tools:
        table(("tool", "class", "", "reviewed"), [_tool_row(one, tool) for one in found for tool in one["tools"]])
    else:
        table(("service", "state", "tools", "revision", "to review", "reached at"), [_row(one) for one in found])
    waiting = [one["name"] for one in found if _awaits(one)]
    if waiting:
        notice(f"⚠️ To be reviewed: {', '.join(waiting)}; see them with: tom services review{asking.suffix}")


@app.command()
def diff(
    name: NameArgument,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how tools differ from what was pinned. Status 6 when some do."""
    asking = _Asking(data, user, url)
    found = asking.differences(name)
    if as_json:
        document(found)
    else:
        for change in found["changes"]:
            _show_change(name, change)
        if not found["changes"]:
            print(f"✅ {name}: every tool is as it was pinned")
    raise typer.Exit(Status.CHANGED if found["changes"] else Status.DONE)


@app.command()
def review(
    name: ServiceArgument = None,
    yes: Annotated[
        list[str] | None,
        typer.Option("--yes", metavar="TOOL", help="Accept this tool without asking; 'all': every one."),
    ] = None,
    set_class: Annotated[
        list[str] | None, typer.Option("--class", metavar="TOOL=CLASS", help="Give a tool this class, and confirm it.")
    ] = None,
    inward: Annotated[
        list[str] | None,
        typer.Option("--inward", metavar="TOOL", help="Say that this tool's arguments stay in the house; confirm it."),
    ] = None,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at changed tools and proposed classes one by one, and accept them."""
    classes = _classes(set_class or [])
    if name is None and (classes or yes or inward):
        usage("Name the service whose tools are meant")
    asking = _Asking(data, user, url)
    names = [name] if name else [one["name"] for one in asking.services() if _awaits(one)]
    done = {one: asking.review(one, classes, tuple(yes or ()), tuple(inward or ()), as_json=as_json) for one in names}
    if as_json:
        document({"user": asking.user, "reviewed": done})
    elif not names:
        print("✅ Nothing is to be reviewed")


class _Asking:
    """One person's agent, as these commands ask it."""

    def __init__(self, data: str | None, user: str | None, url: str) -> None:
        self._data: Path = locate(data)
        self._url = url
        self.user = whose(self._data, user, url=url)
        self.suffix = f" --url {url}" if url else f" --user {self.user}"

    def services(self) -> list[dict[str, Any]]:
        return self._ask("GET", "/services")["services"]

    def differences(self, name: str) -> dict[str, Any]:
        return self._ask("GET", f"/services/{segment(name)}/diff")

    def review(
        self, name: str, classes: dict[str, str], yes: Sequence[str], inward: Sequence[str], *, as_json: bool
    ) -> list[str]:
        """Ask about everything that awaits review, and tell the agent; the tools that were reviewed."""
        found = self.differences(name)
        pending = [*_reviewable(name, found["changes"], as_json=as_json), *found["proposals"]]
        known = {one["tool"] for one in pending}
        for tool in yes:
            if tool != "all" and tool not in known:
                raise Refused(
                    f"Tool '{tool}' of '{name}' has nothing to review", status=Status.NOT_FOUND, code="nothing"
                )
        chosen = dict(classes)
        seen: dict[str, str] = {}
        for one in pending:
            tool = one["tool"]
            if not as_json:
                _show(name, one)
            if tool in {*classes, *yes, *inward} or "all" in yes or _agreed(tool, one["class"], chosen):
                seen[tool] = one["seen"]
        wanted = seen | {tool: "" for tool in (*classes, *inward) if tool not in seen}
        if not wanted:
            if not as_json:
                print(f"   {name}: nothing was changed" if pending else f"✅ {name}: nothing is to be reviewed")
            return []
        classed = {tool: chosen[tool] for tool in wanted if tool in chosen}
        body = {"accept": True, "tools": wanted, "class": classed, "outward": dict.fromkeys(inward, False)}
        reviewed = self._ask("POST", f"/services/{segment(name)}/review", body)["reviewed"]
        if not as_json:
            print(f"✅ {name}: reviewed {', '.join(reviewed)}")
        return reviewed

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return ask_agent(self._data, self.user, method, path, body, url=self._url)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    held = sum(tool["held"] for tool in one["tools"])
    proposed = sum(tool["proposed"] and not tool["held"] for tool in one["tools"])
    parts = [f"{held} changed"] * bool(held) + [f"{proposed} proposed"] * bool(proposed)
    where = one["url"] or (f"with Tom ({one['builtin']})" if one["builtin"] else "a command")
    state = one["status"] + (f": {one['error']}" if one["error"] else "")
    return one["name"], state[:60], str(len(one["tools"])), one["revision"] or "", ", ".join(parts), where


def _tool_row(one: dict[str, Any], tool: dict[str, Any]) -> tuple[str, ...]:
    marks = ["held"] * tool["held"] + ["proposed"] * tool["proposed"] + ["outward"] * tool["outward"]
    reviewed = f"{tool['reviewed_by']} {(tool['reviewed_at'] or '')[:10]}".strip() if tool["reviewed_by"] else ""
    return f"{one['name']}.{tool['tool']}", tool["class"], ", ".join(marks), reviewed


def _awaits(one: dict[str, Any]) -> bool:
    return any(tool["held"] or tool["proposed"] for tool in one["tools"])


def _reviewable(service: str, changes: list[dict[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
    """The changes that can be looked at; the others are shown as what stays off."""
    for change in changes:
        if change["too_large"] and not as_json:
            _show_change(service, change)
    return [change for change in changes if not change["too_large"]]


def _show(service: str, one: dict[str, Any]) -> None:
    if "diff" in one:
        _show_change(service, one)
        return
    outward = ", its arguments leave the house" if one["outward"] else ""
    print(f"⚠️ {service}.{one['tool']}: proposed class {one['class']}{outward}")
    print("\n".join(f"   {line}" for line in one["definition"].splitlines()))


def _show_change(service: str, change: dict[str, Any]) -> None:
    print(f"⚠️ {service}.{change['tool']} ({change['class']}) is held: it differs from what was pinned")
    if change["service_changed"]:
        for when in ("pinned", "now"):
            told = ", ".join(f"{key} {value}" for key, value in change["service_changed"][when].items())
            print(f"   the service, {when}: {told}")
    if change["too_large"]:
        print("   what it is now is too large to be looked at; it stays off until its service sends something smaller")
    coloured = sys.stdout.isatty()
    for line in change["diff"]:
        colour = _COLOURS.get(line[:1], "") if coloured else ""
        print(f"   {colour}{line}{_PLAIN if colour else ''}")


def _agreed(tool: str, tool_class: str, chosen: dict[str, str]) -> bool:
    """Whether the person at the terminal accepts a tool; a class may be typed instead of a yes."""
    if not sys.stdin.isatty():
        return False
    answer = input(f"Accept {tool} as {tool_class}? [y]es, [n]o, or another class: ").strip().lower()
    if answer in CLASSES:
        chosen[tool] = answer
        return True
    return answer in {"y", "yes"}


def _classes(given: Sequence[str]) -> dict[str, str]:
    classes: dict[str, str] = {}
    for text in given:
        tool, _, tool_class = text.rpartition("=")
        if not tool or tool_class not in CLASSES:
            usage(f"'{text}' is not TOOL=CLASS; classes are {', '.join(CLASSES)}")
        classes[tool] = tool_class
    return classes
