"""Running the command ``tom`` as a person does: another process, its own environment, its own data directory."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 30


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a newcomer with an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    unhurried = {"RATE_RPS": "100000", "RATE_BURST": "100000"}
    return kept | unhurried | {"HOME": str(home), "USER": "newcomer", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def tom(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``tom("user", "list")``: run a command to its end."""

    def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tom.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=tmp_path,
            env=environment | (env or {}),
            check=False,
        )

    return run


class Started:
    """A program that serves, with what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def said(self, text: str) -> Callable[[], bool]:
        """A condition: it has printed this, or it has ended (then the test goes on to see why)."""
        return lambda: text in self.text or self.process.poll() is not None


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """``start("up", …)``: a program that serves; it is ended with the test."""
    running: list[Started] = []

    def begin(*arguments: str, env: dict[str, str] | None = None) -> Started:
        output = tmp_path / f"output{len(running)}.log"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "tom.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env=environment | (env or {}),
            )
        running.append(Started(process, output))
        return running[-1]

    yield begin
    for started in running:
        started.process.kill()
        started.process.wait(SECONDS)
