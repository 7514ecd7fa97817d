"""What is read off processes and numbers, and how a result is printed."""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CPU_CLOCK = 2
"""Linux: with this, a process's number turned about is the number of the clock of its CPU time (clock_getcpuclockid)."""
RESULTS = Path(__file__).resolve().parent / "results"


def tree_of(pid: int) -> list[int]:
    """``pid`` and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += children.get(current, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the living tree below ``pid``, to the nanosecond: /proc counts in hundredths."""
    total = 0.0
    for process in tree_of(pid):
        with contextlib.suppress(OSError):  # it has ended
            total += time.clock_gettime(~process << 3 | CPU_CLOCK)
    return total


def pss_mib(pid: int) -> float:
    """Proportional set size of the tree below ``pid``: shared pages are counted once."""
    total = 0
    for process in tree_of(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


@dataclass(slots=True)
class Result:
    """One figure of docs/…/performance: rows to print, numbers to keep, and whether what must be reached was."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])
    must: dict[str, bool] = field(default_factory=dict[str, bool])
    series: dict[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    unit: str = ""

    def add(self, *cells: Any) -> None:
        """One row of the table."""
        self.rows.append(cells)

    def show(self, *, plot: bool = False) -> bool:
        """Print table, verdicts and the JSON line; keep both in bench/results. Returns whether all was reached."""
        cells = [self.columns, *[tuple(text(cell) for cell in row) for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        print(f"\n{self.name}: {self.title}")
        for row in cells:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for claim, reached in self.must.items():
            print(f"  {'✅' if reached else '❌'} {claim}")
        line = json.dumps({"bench": self.name, **self.numbers, "must": self.must}, ensure_ascii=False)
        print(line, flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(line + "\n")
        if plot and self.series:
            picture(self.title, self.series, self.unit, RESULTS / f"{self.name}.png")
        return all(self.must.values())


def text(cell: object) -> str:
    """A table cell: three significant digits are enough."""
    return (
        f"{cell:.3g}"
        if isinstance(cell, float) and abs(cell) < 1000
        else f"{cell:,.0f}"
        if isinstance(cell, float)
        else str(cell)
    )


def picture(title: str, series: Mapping[str, Sequence[float]], unit: str, path: Path) -> None:
    """One box per series."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.boxplot(list(series.values()), tick_labels=list(series), showfliers=False)
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(f"  {path}")


def options(description: str | None, **defaults: int) -> argparse.Namespace:
    """The command line of a benchmark: ``--plot``, and one number per default."""
    parser = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    parser.add_argument("--plot", action="store_true", help="draw bench/results/NAME.png")
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()


def finish(result: Result, *, plot: bool) -> None:
    """Show the result and end the program: status 1 when a figure was missed."""
    sys.exit(0 if result.show(plot=plot) else 1)
