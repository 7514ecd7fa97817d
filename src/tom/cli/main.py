"""``tom``: finds the command. Programs that serve are started without importing what only other commands need."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from tom.cli.output import Refused, Status, refusal, report

SERVING: Final = ("up", "gateway", "agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.FAILED
    except (Refused, Exception) as error:  # noqa: BLE001 - `refusal` raises again what is a defect
        serving = given[:1] != [] and given[0] in SERVING
        return report(refusal(error, serving=serving), as_json="--json" in given)


def _run(given: list[str]) -> int:
    if given[:1] and given[0] in SERVING:
        module = importlib.import_module(f"tom.cli.{given[0]}")
        return module.run(given[1:])
    from tom.cli.commands import run

    return run(given)


if __name__ == "__main__":
    sys.exit(main())
