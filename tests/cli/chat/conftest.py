"""`tom chat` as people and scripts run it: a process of its own, with pipes or a terminal, against a played house."""

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tom.testing.played_door import PASSWORD, played_door

WITH_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'tom.cli.main', *sys.argv[1:]])"
)


@pytest.fixture
def door():
    with played_door() as opened:
        yield opened


@pytest.fixture
def environment(tmp_path):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TOM_")}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def run(door, environment):
    """``run(*arguments)`` starts `tom chat` with pipes; it is logged in unless ``password`` says otherwise."""
    started = []

    def start(*arguments, password=PASSWORD, stdin=subprocess.DEVNULL, url=None):
        command = [sys.executable, "-m", "tom.cli.main", "chat", "--url", url or door.url, "--user", "alice"]
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | ({"TOM_PASSWORD": password} if password else {}),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Screen:
    """A terminal of 80 × 30 with `tom chat`, or another command, in it."""

    def __init__(self, url, environment, arguments, command=("chat",)):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, *command, "--url", url, "--user", "alice", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment | {"TOM_PASSWORD": PASSWORD},
            start_new_session=True,
        )
        os.close(slave)
        self.raw = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def text(self):
        """What was printed, without cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r", "")

    def see(self, text, times=1):
        """Wait, bounded, until ``text`` was printed so often."""
        self.until(lambda: self.text.count(text) >= times, text)

    def until(self, condition, what=""):
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"never saw {what!r} in {self.text!r}")
            self._read()

    def _read(self):
        if select.select([self.master], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                self.raw += self.decoder.decode(os.read(self.master, 65536))

    def type(self, text):
        os.write(self.master, text.encode())

    def leave(self):
        """Ctrl+C until it ends: a press in the moment in which a prompt appears is only seen with the next key."""

        def pressed():
            self.type("\x03")
            return self.process.poll() is not None or bool(select.select([], [], [], 0.2)[0])

        self.until(pressed, "the end")
        return self.process.returncode

    def ends(self):
        self.until(lambda: self.process.poll() is not None, "the end")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def screen(door, environment):
    opened = []

    def open_(*arguments, command=("chat",)):
        opened.append(Screen(door.url, environment, arguments, command))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
