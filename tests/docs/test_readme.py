"""The README's blocks do what the sentence before them says."""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.slow
BACKGROUND = re.compile(r"in the background, until (\S+) answers")
START_SECONDS = 60


@contextmanager
def started(shell, block):
    """The block's program in the background, from its first healthy answer on; ended with SIGTERM, which must succeed."""
    address = shell.adapted(BACKGROUND.fullmatch(block.note)[1])
    log = shell.data.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {block.text.strip()}"], cwd=shell.root, env=shell.environment,
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


def test_the_blocks_of_the_readme_run_in_order(blocks, shell):
    first, *others = [block for block in blocks("README.md") if block.language == "bash"]
    with started(shell, first) as log:
        said = log.read_text()
        password = re.search(r"password +(\S{12,})", said)
        assert password, "the password is printed once"
        replies = [shell.run(f"export TOM_PASSWORD={password[1]}\n{block.text}") for block in others]
        assert re.search(r"\d\d:\d\d", replies[0]), "the time server was called"
        assert '"status":"ok"' in replies[1]
        assert f":{shell.port}/" in said, "the address to open is printed"
        assert (shell.data / "config.yml").exists()
    with started(shell, first) as log:
        assert "password" not in log.read_text(), "and only once"
