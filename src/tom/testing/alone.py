"""An agent that runs alone, for tests and benchmarks: ``tom agent --standalone`` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tom.testing.house import free_port

START_SECONDS = 30.0
STOP_SECONDS = 45.0
_UNHURRIED = 100_000


@dataclass(slots=True)
class Alone:
    """A context manager: the agent is started on entering and ended on leaving.

    ``settings`` are its config.yml, beside rates that nobody in a hurry runs into; ``environment`` is all that it has
    besides PATH; ``command`` are further arguments.
    """

    directory: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    command: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has printed so far."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def write_config(self) -> None:
        """Write config.yml, where there are settings."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        read = {"rps": _UNHURRIED, "burst": _UNHURRIED}
        config = {"rate_rps": _UNHURRIED, "rate_burst": _UNHURRIED, "rate_limits": {"read": read}, **self.settings}
        path = self.directory / "config.yml"
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)

    def start(self) -> Self:
        """Start it and wait until it answers. Raises RuntimeError with its last words when it does not."""
        if not (self.directory / "config.yml").exists():
            self.write_config()
        arguments = ["agent", "--standalone", "--port", str(self.port), "--data", str(self.directory), *self.command]
        with (self.directory / "output.log").open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own program
                [sys.executable, "-m", "tom.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], **self.environment},
                cwd=self.directory,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                message = f"the agent did not start: {self.log[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.02)
        return self

    def healthy(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - our own address
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """SIGTERM, and wait for its end; returns its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
            self.process = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()
