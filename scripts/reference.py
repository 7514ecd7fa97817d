"""Write docs/reference from the sources, or with ``--check`` say which page is stale.

Each page is a function of what the code declares, so that a page cannot promise what is not there.
"""

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import tom
from tom.config.reference import page as configuration
from tom.conversation import event
from tom.errors import CallerError, OperatorError, RemoteError, TomError

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py from the sources; do not edit. `just docs` writes it anew. -->"
FAULTS = {CallerError: "the caller's", RemoteError: "something outside", OperatorError: "the operator's"}


def import_everything() -> None:
    """Import every module of the product, so that each class of error is known."""
    for module in pkgutil.walk_packages(tom.__path__, "tom."):
        if not module.name.startswith("tom.testing") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def below(kind: type[TomError]) -> Iterator[type[TomError]]:
    """``kind`` and all classes below it."""
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def fault(kind: type[TomError]) -> str:
    """Whose fault an error is."""
    return next((text for branch, text in FAULTS.items() if issubclass(kind, branch)), "Tom's")


def sentence(thing: object) -> str:
    """The first paragraph of a docstring, on one line, fit for a table cell."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")


def errors() -> str:
    """The page of error codes."""
    import_everything()
    rows = {
        (kind.code, kind.http_status, "yes" if kind.retryable else "no", fault(kind), kind.sentence or sentence(kind))
        for kind in below(TomError)
        if kind.__module__.startswith("tom.")
    }
    table = [
        f"| `{code}` | {status} | {again} | {whose} | {text} |" for code, status, again, whose, text in sorted(rows)
    ]
    return page(
        "Error codes",
        "Each error has a stable code. A door shows it in its own dialect: as `error.code` in JSON and in WebSocket\n"
        "frames, with the HTTP status where there is one. *Again* says whether the same request may succeed later.",
        ["| code | HTTP | again | whose fault | message |", "|---|---|---|---|---|", *table],
    )


def events() -> str:
    """The page of event types."""
    makers = {kind: maker for kind in event.EventType if (maker := getattr(event, kind.name.lower(), None))}
    table = [f"| `{kind}` | {sentence(maker)} |" for kind, maker in makers.items()]
    return page(
        "Events",
        "A conversation is a sequence of these, numbered 1..n without holes. An event never changes.",
        ["| type | what it says |", "|---|---|", *table],
    )


def page(title: str, opening: str, lines: list[str]) -> str:
    """One page."""
    return "\n".join([f"# {title}", "", NOTE, "", opening, "", *lines, ""])


PAGES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "errors.md": errors, "events.md": events}


def main() -> int:
    """Write or check all pages."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the sources.")
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 when a page is stale")
    check = parser.parse_args().check
    stale = [name for name, write in PAGES.items() if not refresh(FOLDER / name, write(), check=check)]
    if stale:
        print(f"stale: {', '.join(stale)}; run `just docs`", file=sys.stderr)
    return 1 if stale else 0


def refresh(path: Path, text: str, *, check: bool) -> bool:
    """Write a page unless it is already so; False when ``check`` finds it stale."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return not check


if __name__ == "__main__":
    sys.exit(main())
