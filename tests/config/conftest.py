"""Cases of config.yml as data: each is a file, an environment and what must come of it."""

from pathlib import Path

import pytest

from tom.config.settings import Settings
from tom.config.yamltext import parse_value


class Case:
    """One entry of a file under cases/."""

    def __init__(self, table, entry):
        self.table = table
        self.entry = entry

    def __repr__(self):
        return f"{self.table}: {self.entry['name']}"

    def load(self, directory: Path) -> Settings:
        (directory / "config.yml").write_bytes(self.entry["config"].encode())
        for name, text in self.entry.get("files", {}).items():
            (directory / name).write_text(text)
        return Settings.load(directory, env=self.entry.get("env", {}))


def cases(*tables: str) -> list[Case]:
    folder = Path(__file__).parent / "cases"
    return [
        Case(table, entry)
        for table in tables
        for entry in parse_value((folder / f"{table}.yml").read_text(), name=table)
    ]


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("parametrize")
    tables = getattr(metafunc.function, "tables", None)
    if tables and marker is None:
        found = cases(*tables)
        metafunc.parametrize("case", found, ids=[repr(case) for case in found])


@pytest.fixture
def write(tmp_path: Path):
    """Writes config.yml and answers the data directory."""

    def put(text: str, **files: str) -> Path:
        (tmp_path / "config.yml").write_text(text)
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        return tmp_path

    return put


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path_factory, monkeypatch):
    """The working directory's .env is nobody's."""
    monkeypatch.chdir(tmp_path_factory.mktemp("working"))
