"""The machine: Python, SQLite, the data directory, the clock."""

import os
import platform
import shutil
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

from tom.cli.checks.finding import Finding, House, fail, ok, warn
from tom.cli.directory import NETWORK_FILE_SYSTEMS, file_system

OLDEST_PYTHON = (3, 13)
LITTLE_SPACE = 1 << 30
NO_SPACE = 100 << 20
_RELEASED = datetime(2026, 1, 1, tzinfo=UTC)


async def check_machine(house: House) -> AsyncGenerator[Finding]:
    """Everything about the machine."""
    yield _python()
    yield _sqlite()
    yield _directory(house.directory)
    yield _space(house.directory)
    yield _clock(house)


def _python() -> Finding:
    seen = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fail("python", seen, "install Python 3.13 or newer, then run ./run.sh again")
    return ok("python", seen)


def _sqlite() -> Finding:
    import apsw

    from tom.errors import OperatorError
    from tom.sqlite.connection import check_version

    try:
        check_version()
    except OperatorError as error:
        return fail("sqlite", error.message, "install apsw 3.54.1 or newer: uv sync")
    return ok("sqlite", f"SQLite {apsw.sqlite_lib_version()}")


def _directory(path: Path) -> Finding:
    status = path.stat()
    kind = file_system(path)
    seen = f"{path}, mode {status.st_mode & 0o777:04o}, uid {status.st_uid}{', ' + kind if kind else ''}"
    if status.st_uid != os.getuid():
        return fail("data directory", seen, f"run: chown -R {os.getuid()}:{os.getgid()} {path}")
    if kind in NETWORK_FILE_SYSTEMS:
        return fail("data directory", seen, "move it to a local disk: SQLite's locks do not hold here")
    if status.st_mode & 0o077:
        return fail("data directory", f"{seen}: others can enter it", f"run: chmod 700 {path}")
    return ok("data directory", seen)


def _space(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    seen = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_SPACE:
        return fail("disk space", seen, f"make room on the disk of {path}")
    if free < LITTLE_SPACE:
        return warn("disk space", seen, f"make room on the disk of {path}")
    return ok("disk space", seen)


def _clock(house: House) -> Finding:
    now = datetime.now(UTC)
    zone = house.settings.log.timezone if house.settings else "UTC"
    seen = f"{now:%Y-%m-%d %H:%M:%S} UTC, time zone {zone}"
    if now < _RELEASED:
        return fail(
            "clock", f"{seen}: that is in the past", "set the clock, for example with: timedatectl set-ntp true"
        )
    return ok("clock", seen)
