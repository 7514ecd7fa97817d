"""The secret that a gateway and one person's agent share: ``<data>/users/<user>/agent.secret``, mode 0600."""

import os
from pathlib import Path
from typing import Final

from tom.config.secret import Secret
from tom.ids import secret_token, ulid

FILE: Final = "agent.secret"
_SHORTEST: Final = 32


def agent_secret(home: Path) -> Secret:
    """Read the secret in a user's directory; whoever of gateway and agent comes first makes it.

    Raises OSError when it can be neither read nor made, ValueError when it is too short to be one.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / FILE
    try:
        value = path.read_text("ascii").strip()
    except FileNotFoundError:
        value = _make(path)
    if len(value) < _SHORTEST:
        raise ValueError(f"{path} holds no secret of at least {_SHORTEST} characters; remove it to have one made")
    return Secret(value)


def _make(path: Path) -> str:
    """Write a new secret whole; if another process was faster, theirs counts."""
    fresh = path.with_name(f".{FILE}.{ulid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
        file.write(secret_token())
        file.flush()
        os.fsync(descriptor)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text("ascii").strip()
