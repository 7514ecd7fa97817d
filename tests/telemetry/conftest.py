"""A place where log lines arrive."""

import io

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
        monkeypatch.setattr("sys.stderr", arrived)
        logs.configure(LogSettings(**settings), user=user, threaded=threaded)
        return arrived

    return put
