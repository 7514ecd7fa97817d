"""Pages as their readers use them: the code blocks of a page, and a shell to run them in."""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"(?:^[ ]*<!-- (?P<note>[^\n]*) -->\n)?^(?P<indent>[ ]*)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
SECONDS = 60
BACKGROUND = re.compile(r"in the background, until (\S+) answers")
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``note`` is the comment right before it, which says how a test runs it."""

    page: str
    language: str
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs what a page says at the root of the checkout, with a data directory and a port of the test's own."""

    data: Path
    port: int
    root: Path = ROOT

    @property
    def environment(self) -> dict[str, str]:
        """The reader's environment: no key, no setting, a data directory and a port."""
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        return kept | {
            "USER": "alice",
            "LOGNAME": "alice",
            "XDG_CONFIG_HOME": str(self.data.parent / "settings"),
            "TOM_DATA": str(self.data),
            "TOM_URL": f"https://localhost:{self.port}",
            "TOM_GLOBAL__LISTEN__PORT": str(self.port),
            "TOM_CHAT__WEBSOCKET__PORT": str(self.port),
            "CHAT_API_URL": f"http://localhost:{self.port}",
            "NO_COLOR": "1",
            "RATE_RPS": "100000",  # the reader is not in a hurry, the test is
            "RATE_BURST": "100000",
        }

    def adapted(self, text: str) -> str:
        """The text with the test's directory and port."""
        here = f"localhost:{self.port}"
        return text.replace("./data", str(self.data)).replace("localhost:8443", here).replace("localhost:8000", here)

    def run(self, text: str) -> str:
        """Run a block to its end; its output. Fails the test when it fails."""
        command = ["bash", "-euo", "pipefail", "-c", self.adapted(text)]
        done = subprocess.run(
            command, check=False, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def read(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    found = FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))
    return [Block(page, m["language"], dedented(m["text"], m["indent"]), m["note"] or "") for m in found]


def dedented(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


@pytest.fixture(scope="session")
def blocks():
    """``blocks(page)``: the page's code blocks."""
    return read


@pytest.fixture
def shell(tmp_path, free_port):
    """A reader's shell."""
    return Shell(tmp_path / "data", free_port)


@contextmanager
def running(shell, block):
    """The block's program in the background, from its first healthy answer on; ended with SIGTERM, which must succeed."""
    address = shell.adapted(BACKGROUND.fullmatch(block.note)[1])
    log = shell.data.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {shell.adapted(block.text).strip()}"], cwd=shell.root, env=shell.environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def answers(address):
    return subprocess.run(["curl", "-ksf", "-m", "3", address], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="session", name="started")
def _started():
    """``with started(shell, block) as log``: a block that says that it runs in the background."""
    return running
