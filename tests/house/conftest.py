"""The sources that the rules are applied to, each read and parsed once."""

import ast
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {".py", ".md", ".sh", ".toml", ".yml", ".yaml", ".sql", ".js", ".css", ".html", ".json", ""}


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file of the repository; ``path`` is relative to the root, with slashes."""

    path: str
    text: str
    tree: ast.Module

    def names_imported(self) -> Mapping[str, str]:
        """What each name at the top of an attribute stands for: ``{"aio": "asyncio", "sleep": "time.sleep"}``."""
        return _imports(self.tree)

    def calls(self) -> list[tuple[str, ast.Call]]:
        """Every call with the full dotted name of what is called, imports resolved."""
        return [(self.dotted(node.func), node) for node in ast.walk(self.tree) if isinstance(node, ast.Call)]

    def dotted(self, node: ast.AST) -> str:
        """``a.b.c`` of a name or attribute, its first part resolved through the imports; ``?`` where it is neither."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        parts.append(self.names_imported().get(node.id, node.id) if isinstance(node, ast.Name) else "?")
        return ".".join(reversed(parts))


@cache
def _imports(tree: ast.Module) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                (alias.asname or alias.name.split(".")[0]): alias.name if alias.asname else alias.name.split(".")[0]
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {(alias.asname or alias.name): f"{node.module}.{alias.name}" for alias in node.names}
    return found


@dataclass(frozen=True, slots=True)
class Tree:
    """The repository's files as git sees them: tracked, or new and not ignored."""

    root: Path
    paths: tuple[str, ...]
    parsed: dict[str, Source] = field(default_factory=dict[str, Source])

    def python(self, *folders: str) -> list[Source]:
        """The Python files below ``folders``."""
        return [self.source(path) for path in self.below(*folders) if path.endswith(".py")]

    def below(self, *folders: str) -> list[str]:
        """All paths below ``folders``."""
        return [path for path in self.paths if path.startswith(tuple(f"{folder}/" for folder in folders))]

    def source(self, path: str) -> Source:
        """One parsed file."""
        if path not in self.parsed:
            text = self.read(path)
            self.parsed[path] = Source(path, text, ast.parse(text, path))
        return self.parsed[path]

    def read(self, path: str) -> str:
        """A file's text."""
        return (self.root / path).read_text(encoding="utf-8")

    def texts(self) -> list[str]:
        """Paths of everything that people wrote."""
        return [path for path in self.paths if Path(path).suffix in TEXTS and path != "uv.lock"]


@pytest.fixture(scope="session")
def tree() -> Tree:
    """The repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return Tree(ROOT, tuple(sorted(path for path in set(listed) if path and (ROOT / path).is_file())))
