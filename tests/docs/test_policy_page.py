"""What the page on policies says to write is understood, and what it says will be shown is shown."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PAGE = "docs/howto/write-a-policy.md"
START_SECONDS = 60


@contextmanager
def tom_up(shell, config):
    """``tom up`` with this configuration, from its first answer on."""
    shell.data.mkdir(mode=0o700, exist_ok=True)
    path = shell.data / "config.yml"
    path.write_text("global:\n  llm: scripted\n" + config)
    path.chmod(0o600)
    log = shell.data.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [".venv/bin/tom", "up", "--data", str(shell.data)], cwd=shell.root,
            env=shell.environment | {"PWD": str(shell.root)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (shell.data / "gateway/control.sock").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def examples(blocks):
    """The household, and for each policy its commands with the lines that they show."""
    household, found = "", []
    for block in blocks:
        if block.note == "the household":
            household = block.text
            found.append(("", []))
        elif block.language == "yaml":
            found.append((block.text, []))
        elif block.language == "bash":
            found[-1][1].append((block.text, []))
        elif block.language == "text":
            found[-1][1][-1][1].extend(block.text.splitlines())
    return household, found


def words(text):
    return " ".join(text.split())


def test_each_policy_of_the_page_has_the_effect_that_the_page_shows(blocks, shell):
    household, found = examples(blocks(PAGE))
    assert len(found) == 6
    for policy, commands in found:
        assert commands
        with tom_up(shell, household + policy):
            assert "is valid" in shell.run(".venv/bin/tom config check --data ./data")
            for command, shown in commands:
                said = [words(line) for line in shell.run(command).splitlines()]
                assert shown
                assert {words(line) for line in shown} <= set(said), (policy, said)
