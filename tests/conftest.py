"""What every test gets: the event loop's kind, the repository's root, a free port, a wait with a bound."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tom.config.agent import LogSettings
from tom.telemetry import logs
from tom.testing import databases

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.01


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The product runs on asyncio, so its tests do."""
    return "asyncio"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own keys and settings decide no test."""
    for name in list(os.environ):
        if (
            name.startswith(("TOM_", "CHAT_", "MCP_", "HISTORY_", "LOG_", "RATE_", "MEMORY_", "OPENROUTER_", "REDIS_"))
            or name.endswith("_API_KEY")
            or name
            in {
                "ADMIN_TOKEN",
                "APP_CONFIG_FILE",
                "DEFAULT_PROVIDER",
                "INITIAL_SYSTEM_PROMPT",
                "METRICS_ENABLED",
                "PROVIDER_TIMEOUT_SECONDS",
                "TRUSTED_PROXIES",
            }
        ):
            monkeypatch.delenv(name)


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """``await until(lambda: condition)``: wait for a condition, at most ``seconds``; then the test fails."""

    async def wait(condition: Callable[[], object], seconds: float = WAIT_SECONDS, what: str = "") -> None:
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"after {seconds} s still not: {what or condition}")
            await asyncio.sleep(POLL_SECONDS)

    return wait


@pytest.fixture(scope="session")
def redis_server() -> Generator[databases.Server]:
    """A Redis of this test run; a test that stops or kills it starts it again (``usable``)."""
    with databases.redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Generator[databases.Server]:
    """A MariaDB of this test run."""
    with databases.mariadb_server() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb_server() -> Generator[databases.Server]:
    """An nx-27017 of this test run."""
    with databases.mongodb_server() as server:
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Generator[Callable[[], list[dict[str, Any]]]]:
    """``log()``: the records so far, as a program that reads them sees them."""
    path = tmp_path / "tom.log"
    logs.configure(LogSettings(format="json", file=str(path), level="DEBUG"), user="alice")

    def read() -> list[dict[str, Any]]:
        logs.flush()
        return [json.loads(line) for line in path.read_text().splitlines()]

    yield read
    logs.configure(LogSettings())
