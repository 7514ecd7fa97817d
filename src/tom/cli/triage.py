"""``tom triage replay FILE``: how often triage chooses what a table of cases expects.

The cases are asked of the person's own agent, so the models, services and descriptions are the real ones.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from tom.cli.directory import locate
from tom.cli.operator import ask_agent, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table, usage

BATCH: Final = 20
_SHOWN: Final = 48

app = typer.Typer(help="The choice of services and level for a message.", no_args_is_help=True)


@app.callback()
def commands() -> None:
    """The choice of services and level for a message."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. ``level`` None: any is right."""

    text: str
    services: frozenset[str]
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What triage chose for a case."""

    case: Case
    decision: Mapping[str, Any]

    @property
    def services_right(self) -> bool:
        """Whether exactly the expected services were chosen."""
        return frozenset(self.decision["services"]) == self.case.services

    @property
    def level_right(self) -> bool:
        """Whether the level is the expected one, or none was expected."""
        return self.case.level is None or self.decision["level"] == self.case.level

    @property
    def right(self) -> bool:
        """Whether the model itself chose, and everything is as expected."""
        return self.services_right and self.level_right and self.decision["how"] == "model"


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Cases as YAML, JSON or CSV: text, services, level.")],
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Whose triage (default: the only user there is).")
    ] = None,
    least: Annotated[
        float, typer.Option("--least", min=0, max=100, metavar="PERCENT", help="Status 1 below this accuracy.")
    ] = 100.0,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Ask the agent that runs alone there instead.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask triage about every case of FILE and say how often it was right. Status 1 below --least."""
    cases = read_cases(file)
    outcomes = _asked(cases, locate(data), user, url)
    right = sum(outcome.right for outcome in outcomes)
    accuracy = round(100 * right / len(outcomes), 1)
    if as_json:
        document(_report(outcomes, accuracy))
    else:
        table(("", "message", "chosen", "expected", "level", "ms"), [_row(outcome) for outcome in outcomes])
        print(_summary(outcomes, right, accuracy))
    raise typer.Exit(Status.DONE if accuracy >= least else Status.FAILED)


def read_cases(file: Path) -> list[Case]:
    """The cases of a file, by its ending. Raises `Refused` naming the first case that cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}", status=Status.NOT_FOUND, code="not_found") from None
    rows = _rows(file, text)
    if not rows:
        usage(f"{file}: there are no cases; each has a text, services and, if wanted, a level")
    return [_case(file, number, row) for number, row in enumerate(rows, start=1)]


def _rows(file: Path, text: str) -> list[Any]:
    try:
        match file.suffix.lower():
            case ".csv":
                return list(csv.DictReader(io.StringIO(text)))
            case ".json":
                value: Any = json.loads(text)
            case _:
                from tom.config.yamltext import YamlInvalid, parse_value

                try:
                    value = parse_value(text, name=file.name)
                except YamlInvalid as error:
                    usage(str(error))
    except ValueError as error:
        usage(f"{file}: {error}")
    rows: Any = cast("dict[str, Any]", value).get("cases") if isinstance(value, dict) else value
    return cast("list[Any]", rows) if isinstance(rows, list) else []


def _case(file: Path, number: int, row: Any) -> Case:
    if not isinstance(row, Mapping):
        usage(f"{file}: case {number} is not a mapping of text, services and level")
    given = cast("Mapping[str, Any]", row)
    text: Any = given.get("text")
    if not isinstance(text, str) or not text.strip():
        usage(f"{file}: case {number} has no text")
    services: Any = given.get("services", given.get("modules")) or []
    if isinstance(services, str):
        services = services.replace(",", " ").replace(";", " ").split()
    if not isinstance(services, list) or not all(isinstance(name, str) for name in cast("list[Any]", services)):
        usage(f"{file}: the services of case {number} must be a list of names")
    level: Any = given.get("level")
    if str(level or 0) not in {"0", "1", "2"}:
        usage(f"{file}: the level of case {number} must be 0, 1 or 2")
    return Case(text, frozenset(cast("list[str]", services)), None if level in (None, "") else int(level))


def _asked(cases: Sequence[Case], data: Path, user: str | None, url: str) -> list[Outcome]:
    person = whose(data, user, url=url)
    outcomes: list[Outcome] = []
    for at in range(0, len(cases), BATCH):
        batch = cases[at : at + BATCH]
        body = {"cases": [{"text": case.text} for case in batch]}
        answer = ask_agent(data, person, "POST", "/triage/replay", body, url=url)
        decisions: list[Mapping[str, Any]] = answer["decisions"]
        outcomes += [Outcome(case, decision) for case, decision in zip(batch, decisions, strict=True)]
        unknown = sorted({name for case in batch for name in case.services} - set(answer["services"]))
        if unknown:
            notice(f"⚠️ These services are not enabled: {', '.join(unknown)}")
    return outcomes


def _row(outcome: Outcome) -> tuple[str, ...]:
    case, decision = outcome.case, outcome.decision
    text = " ".join(case.text.split())
    wanted = "" if case.level is None or outcome.level_right else f" (not {case.level})"
    chosen = ", ".join(decision["services"]) or "none"
    return (
        "✅" if outcome.right else "❌",
        text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…",
        chosen if decision["how"] == "model" else f"{chosen} ({decision['how']})",
        ", ".join(sorted(case.services)) or "none",
        f"{decision['level']}{wanted}",
        str(decision["ms"]),
    )


def _summary(outcomes: Sequence[Outcome], right: int, accuracy: float) -> str:
    services = sum(outcome.services_right for outcome in outcomes)
    levels = sum(outcome.level_right for outcome in outcomes)
    failed = sum(outcome.decision["how"] != "model" for outcome in outcomes)
    times = sorted(outcome.decision["ms"] for outcome in outcomes)
    parts = [f"services {services}", f"levels {levels}"]
    parts += [f"{failed} without the model's choice"] if failed else []
    return f"{right} of {len(outcomes)} right ({accuracy} %): {', '.join(parts)}; median {times[len(times) // 2]} ms"


def _report(outcomes: Sequence[Outcome], accuracy: float) -> dict[str, Any]:
    cases = [
        {
            "text": outcome.case.text,
            "right": outcome.right,
            "expected": {"services": sorted(outcome.case.services), "level": outcome.case.level},
            "decision": dict(outcome.decision),
        }
        for outcome in outcomes
    ]
    right = sum(outcome.right for outcome in outcomes)
    return {"cases": cases, "total": len(outcomes), "right": right, "accuracy": accuracy}
