"""Which agents are up, remembered across restarts of the gateway: one empty file per user.

An agent that was up when the gateway ended, however it ended, may have accepted messages that wait for an answer. It
is started again with the gateway instead of with its user's next request.
"""

import os
from pathlib import Path


class Awake:
    """A directory of marks."""

    def __init__(self, directory: Path) -> None:
        """Make ``directory`` (0700) where it is missing."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory

    def remember(self, user: str) -> None:
        """The user's agent is about to be up."""
        path = self._directory / user
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def forget(self, user: str) -> None:
        """It has nothing left to do."""
        (self._directory / user).unlink(missing_ok=True)

    def users(self) -> list[str]:
        """Whose agents were up, by name."""
        return sorted(entry.name for entry in self._directory.iterdir())
