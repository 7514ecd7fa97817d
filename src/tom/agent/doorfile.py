"""What an agent that runs alone keeps of its callers: ``<home>/door.db``, with the schema of the gateway's file."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tom.accounts.opening import open_file
from tom.accounts.tickets import Tickets
from tom.accounts.tokens import Tokens
from tom.agent.identify import Admitted
from tom.clock import Clock
from tom.errors import TomError
from tom.spawner.unixpath import SocketDirectory
from tom.sqlite import Database
from tom.telemetry import logs

log = logs.get("login")

FILE: Final = "door.db"
SOCKET: Final = "agent.sock"
_TIDY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DoorFile:
    """The doors' part of one agent alone: its file, the tokens in it, and the tickets that are out."""

    database: Database
    tokens: Tokens
    tickets: Tickets[Admitted]

    @classmethod
    async def open(cls, home: Path, clock: Clock) -> "DoorFile":
        """Open ``door.db`` in ``home``, which exists. Raises `StoreInUse`, `StoreTooNew`."""
        database = await open_file(home / FILE, clock)
        return cls(database, await Tokens.open(database, clock), Tickets[Admitted](clock))

    async def run(self) -> None:
        """Close what is open under tokens whose time is over, and store when they were used; until cancelled."""
        while True:
            try:
                await self.tokens.tidy()
            except TomError as error:  # a full disk must not end the agent
                log.error("❌ Tokens could not be stored", event="accounts_not_stored", error=error)
            await asyncio.sleep(_TIDY_SECONDS)

    async def close(self) -> None:
        """Store what is left and close the file."""
        with contextlib.suppress(TomError):
            await self.tokens.close()
        await self.database.close()


@contextlib.contextmanager
def control_socket(home: Path) -> Generator[socket.socket | None]:
    """The operator's way in, ``<home>/agent.sock``: a listening socket that nobody else may open, removed at the end.

    None, and a warning, where there cannot be one: not every file system holds sockets.
    """
    with contextlib.ExitStack() as stack:
        try:
            directory = SocketDirectory(home)
            stack.callback(directory.close)
            listening = directory.listen(SOCKET)
        except OSError as error:
            log.warning(f"⚠️ No control socket in {home}: {error}", event="no_control_socket")
            yield None
            return
        stack.callback(directory.remove, SOCKET)
        stack.callback(listening.close)
        yield listening
