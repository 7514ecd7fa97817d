"""Process groups: whether one has living members, and signals to all of them."""

import os
import signal
from pathlib import Path


def group_lives(group: int) -> bool:
    """Whether the group has a member that is more than a zombie which init has not collected yet."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _has_living_member(group)


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every member there is."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def how_it_ended(status: int) -> str:
    """A process's exit status (negative: a signal), for people."""
    if status >= 0:
        return f"it ended with status {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"


def _has_living_member(group: int) -> bool:
    processes = Path("/proc")
    if not (processes / "self/stat").exists():
        return True
    for entry in processes.iterdir():
        if entry.name.isdigit():
            try:
                state, _parent, member_of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(member_of) == group and state not in {"Z", "X"}:
                return True
    return False
