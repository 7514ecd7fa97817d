"""A place where log lines arrive."""

import io
import logging

import pytest

from tom.config.agent import LogSettings
from tom.telemetry import logs


class Arrived(io.StringIO):
    """What was written to stderr."""

    def lines(self) -> list[str]:
        assert logs.flush(10)
        return self.getvalue().splitlines()


@pytest.fixture
def arrived() -> Arrived:
    """Not yet in place: pytest puts its own stderr there before each phase."""
    yield Arrived()
    logs.configure(LogSettings())


@pytest.fixture
def configured(arrived, monkeypatch):
    """Configures logs and answers where they arrive."""

    def put(*, user="system", threaded=True, **settings) -> Arrived:
        # A server or a service that ran in this process before has set these for good.
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "mcp", "mcp.client", "mcp.server", "asyncio"):
            monkeypatch.setattr(logging.getLogger(name), "propagate", True)
            monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
            monkeypatch.setattr(logging.getLogger(name), "handlers", [])
            logging.getLogger(name).manager._clear_cache()
        monkeypatch.setattr("sys.stderr", arrived)
        logs.configure(LogSettings(**settings), user=user, threaded=threaded)
        return arrived

    return put
