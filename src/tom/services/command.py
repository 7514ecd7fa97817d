"""What starts a service's process, and what of the agent's environment it may see."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tom.services.unreachable import Unreachable

INHERITED = ("PATH", "HOME", "LANG", "TZ", "TOM_ALL_DATADIR")


@dataclass(frozen=True, slots=True)
class Command:
    """What is started. ``environment`` is all the child gets; ``cwd`` empty: where the agent is."""

    program: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str = ""

    def found(self) -> str:
        """The program's absolute path. Raises `Unreachable` when there is none."""
        found = None
        if os.sep not in self.program or Path(self.program).is_absolute():  # relative to what, would be a guess
            found = shutil.which(self.program, path=self.environment.get("PATH", os.defpath))
        if found is None:
            raise Unreachable(f"Command '{self.program}' not found in PATH")
        return found

    def why_not(self, error: OSError | ValueError) -> str:
        """Why it could not be started, for people."""
        if isinstance(error, ValueError):
            return f"Command '{self.program}' has a NUL character in its arguments"
        if self.cwd and not Path(self.cwd).is_dir():
            return f"Directory '{self.cwd}' not found"
        return f"Command '{self.program}' could not be started: {error.strerror}"


def child_environment(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What a child may see: the few inherited names that are set in ``own``, then those ``given`` to it."""
    inherited = {name: own[name] for name in INHERITED if own.get(name)}
    return {"PATH": os.defpath, **inherited, **given}
