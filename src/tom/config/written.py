"""What stands in the files: config.yml and a chat file, each key brought to its place, put together.

A chat file (`APP_CONFIG_FILE`, or `app.config.yaml` where it is found) says what config.yml may say too; what both say they
must say alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from tom.config import schema
from tom.config.environment import Environment
from tom.config.invalid import ConfigInvalid, problem
from tom.config.variables import NONE_WHEN_BLANK, VARIABLES
from tom.config.yamltext import YamlInvalid, key_lines, read_yaml

CHAT_FILES: Final = ("app.config.yaml", "app.config.yml")
_YAML: Final = (".yml", ".yaml")
SECTIONS: Final = frozenset(
    (
        "chat",
        "repository",
        "llm",
        "mcp",
        "mcpServers",
        "settings",
        "logging",
        "history",
        "redis",
        "rate_limits",
        "metrics",
    )
)
"""Sections that a chat file may have; people, policy and services of the house stand in config.yml only."""

_ALL_KEYS: Final = frozenset(schema.known_keys(schema.holds(())))

type Tree = dict[str, Any]


@dataclass(slots=True)
class SourceFile:
    """One file. ``tree`` has its keys at their places; ``moved`` says where in the file a place was written."""

    path: Path
    tree: Tree
    moved: dict[schema.Path, schema.Path] = field(default_factory=dict[schema.Path, schema.Path])
    _lines: dict[schema.Path, int] | None = None

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.path.name

    def line(self, path: schema.Path) -> int:
        """The line in which a key stands, 0 where nobody knows."""
        written = next(
            (self.moved[path[:end]] + path[end:] for end in range(len(path), 0, -1) if path[:end] in self.moved), path
        )
        if self._lines is None:
            try:
                self._lines = key_lines(self.path.read_text(encoding="utf-8"))
            except (OSError, ValueError, YamlInvalid):
                self._lines = {}
        lines = self._lines
        return next((lines[written[:end]] for end in range(len(written), 0, -1) if written[:end] in lines), 0)

    def at(self, path: schema.Path) -> Any:
        """What is written at a path; None where nothing is."""
        node: Any = self.tree
        for part in path:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return None
        return node

    def depth(self, path: schema.Path) -> int:
        """How far down a path is written in it."""
        node: Any = self.tree
        for depth, part in enumerate(path):
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return depth
        return len(path)


@dataclass(slots=True)
class Written:
    """The files that were found, the first of them config.yml where there is one. ``tree`` is what they say together."""

    files: list[SourceFile] = field(default_factory=list[SourceFile])
    chat: SourceFile | None = None
    tree: Tree = field(default_factory=dict[str, Any])
    errors: list[str] = field(default_factory=list[str])
    blank: set[str] = field(default_factory=set[str])
    """Variables whose key stands in a file without a value."""

    def file(self, path: schema.Path) -> SourceFile | None:
        """The file in which a key, or what is nearest above it, is written."""
        return max(self.files, key=lambda file: file.depth(path), default=None)

    def says(self, path: schema.Path) -> bool:
        """Whether any file has this key."""
        return any(file.depth(path) == len(path) for file in self.files)


def read_written(config: Path, env: Environment, data: Path, *, required: bool) -> Written:
    """Read what there is. Raises `ConfigInvalid` when config.yml cannot be read, or is missing and ``required``.

    With a chat file config.yml need not be there.
    """
    written = Written()
    chat = _chat_file(written, env, data)
    try:
        _add(written, SourceFile(config, read_yaml(config, mergeable=frozenset(("chat",)))))
    except FileNotFoundError:
        if required:
            raise ConfigInvalid([*written.errors, f"❌ Configuration not found: {config}"]) from None
    except YamlInvalid as error:
        raise ConfigInvalid([*written.errors, f"❌ {error}"]) from None
    if chat is not None:
        _add_chat(written, chat)
    for file in written.files:
        written.tree = cast("Tree", _merged(written, file, written.tree, file.tree, ()))
    return written


def _chat_file(written: Written, env: Environment, data: Path) -> Path | None:
    """The chat file, as `APP_CONFIG_FILE` names it or as it is found."""
    named = env.values.get("APP_CONFIG_FILE", "").strip()
    if not named:
        return found_chat_file(data)
    path = Path(named).expanduser().absolute()
    if path.suffix not in _YAML:
        sentence = "Unsupported config format. Expected a .yml or .yaml file."
    elif not path.is_file():
        sentence = f"Config file '{named}' was not found."
    else:
        return path
    written.errors.append(problem(env.source("APP_CONFIG_FILE"), sentence))
    return None


def found_chat_file(data: Path) -> Path | None:
    """The first of `app.config.yaml` and `.yml` in the data directory, the working directory and its `config/`."""
    here = Path.cwd()
    places = (folder / name for folder in (data, here, here / "config") for name in CHAT_FILES)
    return next((place for place in places if place.is_file()), None)


def _add_chat(written: Written, path: Path) -> None:
    try:
        tree = read_yaml(path, mergeable=frozenset(("chat",)))
    except (FileNotFoundError, YamlInvalid) as error:
        written.errors.append(f"config: {error}")
        return
    flat = {key for variable in VARIABLES for key in variable.keys}
    for key in [key for key in tree if key not in SECTIONS | flat]:
        sentence = "belongs into config.yml" if key in _ALL_KEYS else schema.unknown(key, [*SECTIONS, *flat])
        written.errors.append(problem(path.name, f"{key}: {sentence}"))
        del tree[key]
    written.chat = SourceFile(path, tree)
    _add(written, written.chat)


def _add(written: Written, file: SourceFile) -> None:
    written.files.append(file)
    _lift_repository(written, file)
    for variable in VARIABLES:
        for key in variable.keys:
            if key in file.tree:
                _lift(written, file, key, variable.name, tuple(variable.path.split(".")), variable.read)


def _lift(written: Written, file: SourceFile, key: str, name: str, path: schema.Path, read: Any) -> None:
    """Bring one key of the top to its place, read as the variable of its name is."""
    value = file.tree.pop(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        if name != NONE_WHEN_BLANK or value is None:
            written.blank.add(name)
            return
        value = ""
    try:
        value = read(name, value)
    except ValueError as error:
        written.errors.append(problem(file.name, str(error)))
        return
    node: Any = file.tree
    for part in path[:-1]:
        if not isinstance(node.setdefault(part, {}), dict):
            return  # a section that is no mapping: it is refused as that
        node = node[part]
    if path[-1] in node and node[path[-1]] != value:
        other = schema.dotted(file.moved.get(path, path))
        written.errors.append(problem(file.name, f"{key}: {other} has a different value"))
        return
    node[path[-1]] = value
    file.moved[path] = (key,)


def _lift_repository(written: Written, file: SourceFile) -> None:
    """``chat.service.repository`` is ``repository``."""
    chat = file.tree.get("chat")
    service = cast("Tree", chat).get("service") if isinstance(chat, dict) else None
    if not isinstance(service, dict) or "repository" not in service:
        return
    inner = cast("Tree", service)
    second = inner["repository"]
    rest = {key: value for key, value in inner.items() if key != "repository"}
    file.tree["chat"] = {**cast("Tree", chat), "service": rest}
    if file.tree.setdefault("repository", second) is second:
        file.moved["repository",] = ("chat", "service", "repository")
    elif file.tree["repository"] != second:
        written.errors.append(problem(file.name, "chat.service.repository: repository has different values"))


def _merged(written: Written, file: SourceFile, one: Any, other: Any, path: schema.Path) -> Any:
    """Both trees in one; what both say they must say alike."""
    if isinstance(one, dict) and isinstance(other, dict):
        together = dict(cast("Tree", one))
        for key, value in cast("Mapping[str, Any]", other).items():
            below = (*path, key)
            together[key] = _merged(written, file, together[key], value, below) if key in together else value
        return together
    if one is None or other is None or one == other:
        return cast("Any", other if one is None else one)
    first = written.files[0]
    said = schema.dotted(file.moved.get(path, path))
    there = schema.dotted(first.moved.get(path, path))
    place = f"{first.path} line {first.line(path)}"
    written.errors.append(
        problem(file.name, f"{said} (line {file.line(path)}): {place} has a different value for {there}")
    )
    return cast("Any", one)
