"""Versions below which a known hole is open, held against the lock file and against what runs."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import apsw
import pytest

FLOORS = {
    "starlette": (1, 0, 1),
    "mcp": (2, 3),
    "pyjwt": (2, 13),
    "h11": (0, 16),
    "apsw": (3, 51, 3),
    "python-multipart": (0, 0, 20),
    "cryptography": (46,),
}
SQLITE_FLOOR = (3, 51, 3)
ABSENT = {"litellm", "pysqlite3", "pysqlite3-binary", "fastmcp"}
PTH_FILES = {"_virtualenv.pth", "_tom_assistant.pth", "_editable_impl_tom_assistant.pth", "a1_coverage.pth"}
"""Files that run code at every start of the interpreter: uv's, our own checkout's, coverage's."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


@pytest.fixture(scope="module")
def locked(tree):
    return {package["name"]: package for package in tomllib.loads(tree.read("uv.lock"))["package"]}


def test_the_lock_file_meets_every_floor(locked):
    assert not {
        name: locked[name]["version"]
        for name, floor in FLOORS.items()
        if name in locked and numbers(locked[name]["version"]) < floor
    }


def test_the_running_environment_meets_every_floor(locked):
    for name, floor in FLOORS.items():
        if name in locked:
            assert numbers(metadata.version(name)) >= floor, name


def test_the_running_sqlite_does_not_corrupt_a_wal_file():
    assert numbers(apsw.sqlite_lib_version()) >= SQLITE_FLOOR


def test_banned_packages_are_neither_locked_nor_installed(locked):
    installed = {(dist.metadata["Name"] or "").lower() for dist in metadata.distributions()}
    assert not ABSENT & (set(locked) | installed)


def test_every_locked_file_has_a_hash(locked):
    files = [
        file
        for package in locked.values()
        for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    ]
    assert files
    assert not [file["url"] for file in files if not file.get("hash", "").startswith("sha256:")]


def test_no_unknown_file_runs_code_at_the_start_of_python():
    site = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    assert site.is_dir()
    assert {path.name for path in site.glob("*.pth")} <= PTH_FILES
