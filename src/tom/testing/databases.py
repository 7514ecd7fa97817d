"""Real database servers for tests: Redis, MariaDB, and nx-27017 (MongoDB's wire protocol over SQLite).

Each is a process of its own on a free port of 127.0.0.1 with its files in a temporary directory. A test may freeze it
(`stop`, SIGSTOP), let it go on, kill it, start it again on the same port, and give it back empty.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 30.0
POLL_SECONDS = 0.02
DATABASE = "tom"
USER = "tom"
ADMIN = "admin"
PASSWORD = "archive"  # noqa: S105 - of a server that lives as long as a test
_OPENING = f"""
CREATE DATABASE IF NOT EXISTS {DATABASE};
CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON {DATABASE}.* TO {USER}@'%';
CREATE USER IF NOT EXISTS {ADMIN}@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;
"""


class ProgramMissing(Exception):
    """A server's program is not installed."""


@dataclass(slots=True)
class Server:
    """One database server. ``make`` writes its first files, ``command`` starts it; both get it."""

    name: str
    scheme: str
    directory: Path
    make: Callable[["Server"], None]
    command: Callable[["Server"], list[str]]
    answers: Callable[[socket.socket], bool]
    database: str = ""
    user: str = ""
    password: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _frozen: bool = False

    @property
    def files(self) -> Path:
        """Where it keeps what it is told."""
        return self.directory / "files"

    @property
    def url(self) -> str:
        """Where it is, with the account of tests where it has one."""
        account = f"{self.user}:{self.password}@" if self.user else ""
        return f"{self.scheme}://{account}{self.host}:{self.port}/{self.database}"

    @property
    def pid(self) -> int:
        """The process's number."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port it had; back when it answers. Raises RuntimeError when it does not."""
        if self._process is not None:
            return
        if not self.files.exists():
            self.make(self)
        self.port = self.port or _free_port()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(self), stdout=log, stderr=log, cwd=self.directory)  # noqa: S603 - a database of tests
        deadline = time.monotonic() + START_SECONDS
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.directory / "log").read_text(errors="replace")
                self.kill()
                raise RuntimeError(f"{self.name} did not start: {log_text[-2000:]}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Freeze it: connections stay open and nothing answers (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        os.kill(self.pid, signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        """End it at once (SIGKILL); what it wrote stays."""
        process, self._process, self._frozen = self._process, None, False
        if process is not None:
            process.kill()
            process.wait(START_SECONDS)

    def restart_empty(self) -> None:
        """Kill it and start it again on the same port as if it had never been told anything."""
        self.kill()
        shutil.rmtree(self.files)
        self.start()

    def usable(self) -> None:
        """Undo what a test left: frozen goes on, killed starts."""
        if self._frozen:
            self.go_on()
        self.start()

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0) as connection:
                return self.answers(connection)
        except OSError:
            return False


@contextmanager
def redis_server() -> Generator[Server]:
    """A Redis that writes down every command before it answers it."""
    program = _program("redis-server")

    def command(server: Server) -> list[str]:
        place = ["--port", str(server.port), "--bind", server.host, "--dir", str(server.files)]
        return [program, *place, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]

    def answers(connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")

    with _running("redis", "redis", _make_directory, command, answers) as server:
        yield server


@contextmanager
def mariadb_server() -> Generator[Server]:
    """A MariaDB with the database and account ``tom``, and the account ``admin`` that may do all."""
    program, installer = _program("mariadbd"), _program("mariadb-install-db")
    as_whom = ["--user=root"] if os.getuid() == 0 else []
    sizes = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M"]

    def make(server: Server) -> None:
        pristine = server.directory / "pristine"
        if not pristine.exists():
            own = {**os.environ, "TMPDIR": str(server.directory)}  # two that make one at once use the same names
            making = ["--no-defaults", f"--datadir={pristine}", "--skip-test-db", *as_whom, *sizes]
            done = subprocess.run([installer, *making], capture_output=True, timeout=120, check=False, env=own)  # noqa: S603 - as above
            if done.returncode:
                raise RuntimeError(f"mariadb-install-db: {done.stdout[-1000:]!r} {done.stderr[-1000:]!r}")
            (server.directory / "opening.sql").write_text(_OPENING)
        shutil.copytree(pristine, server.files)

    def command(server: Server) -> list[str]:
        directory = server.directory
        place = [f"--datadir={server.files}", f"--socket={directory}/s", f"--pid-file={directory}/pid"]
        net = [f"--port={server.port}", f"--bind-address={server.host}", "--skip-name-resolve"]
        return [program, "--no-defaults", *as_whom, *place, *net, *sizes, f"--init-file={directory}/opening.sql"]

    def answers(connection: socket.socket) -> bool:
        return b"mysql_native_password" in connection.recv(512)

    with _running("mariadb", "mysql", make, command, answers) as server:
        server.database, server.user, server.password = DATABASE, USER, PASSWORD
        yield server


@contextmanager
def mongodb_server() -> Generator[Server]:
    """nx-27017: MongoDB's wire protocol over SQLite, since no MongoDB can be had from these registries."""
    program = _program("nx-27017", Path(sys.executable).parent)

    def command(server: Server) -> list[str]:
        logs = [f"--log-file={server.directory}/nx.log", f"--pid-file={server.directory}/nx.pid"]
        return [program, f"--data-dir={server.files}", f"--host={server.host}", f"--port={server.port}", *logs]

    with _running("nx-27017", "mongodb", _make_directory, command, lambda _: True) as server:
        yield server


@contextmanager
def _running(
    name: str,
    scheme: str,
    make: Callable[[Server], None],
    command: Callable[[Server], list[str]],
    answers: Callable[[socket.socket], bool],
) -> Generator[Server]:
    directory = Path(tempfile.mkdtemp(prefix=f"tom-{name}-"))
    server = Server(name, scheme, directory, make, command, answers)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _make_directory(server: Server) -> None:
    server.files.mkdir()


def _program(name: str, beside: Path | None = None) -> str:
    """The path of a program; Debian keeps servers where ordinary people's PATH does not look."""
    where = os.pathsep.join(
        [*([str(beside)] if beside else []), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    )
    found = shutil.which(name, path=where)
    if found is None:
        raise ProgramMissing(f"{name} is not installed: scripts/provision.sh brings it")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
