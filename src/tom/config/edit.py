"""Changing config.yml for a person: comments stay, and either the whole change is on disk or none of it."""

import contextlib
import fcntl
import io
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

from tom.config.invalid import ConfigInvalid
from tom.config.values import username as checked_username
from tom.config.yamltext import YamlInvalid, parse_yaml, read_yaml
from tom.ids import secret_token

_LOCK_SECONDS = 5.0


def add_user(path: Path, username: str, *, role: str = "user", password_hash: str = "") -> None:
    """Append an entry to ``users``; ConfigInvalid when there is one of that name or the name is not allowed."""
    try:
        checked_username(username)
    except ValueError as error:
        raise ConfigInvalid([f"❌ a user's name {error}"]) from None
    entry = {"username": username, "role": role}
    if password_hash:
        entry["password_hash"] = password_hash

    def append(tree: Any) -> None:
        if _place(tree, username) is not None:
            raise ConfigInvalid([f"❌ User {username!r} is there already"])
        if not tree.get("users"):
            tree["users"] = []
        tree["users"].append(entry)

    _change(path, append)


def remove_user(path: Path, username: str) -> None:
    """Remove an entry of ``users``; ConfigInvalid when there is none of that name. The user's directory stays."""

    def remove(tree: Any) -> None:
        del tree["users"][_known_place(tree, username)]

    _change(path, remove)


def change_user(path: Path, username: str, **changes: Any) -> None:
    """Set keys of an entry of ``users``; a value of None removes the key. ConfigInvalid as above."""

    def change(tree: Any) -> None:
        entry = tree["users"][_known_place(tree, username)]
        for key, value in changes.items():
            if value is None:
                entry.pop(key, None)
            else:
                entry[key] = value

    _change(path, change)


def add_llm(
    path: Path, name: str, env_var: str, models: tuple[str, str, str], *, api: str = "", base_url: str = ""
) -> None:
    """Enter a language model and make it the default one; ConfigInvalid when there is one of that name.

    What is empty is left out; ``api`` is ``none`` for an endpoint that wants no key.
    """
    entry: dict[str, Any] = {
        key: value for key, value in {"env_var": env_var, "api": api, "base_url": base_url}.items() if value
    }
    entry["models"] = models[0] if len(set(models)) == 1 else list(models)

    def enter(tree: Any) -> None:
        if not tree.get("global"):
            tree["global"] = {}
        section = tree["global"]
        if not section.get("llms"):
            section["llms"] = {}
        if name in section["llms"]:
            raise ConfigInvalid([f"❌ LLM {name!r} is there already"])
        section["llms"][name] = dict(entry)
        section["llm"] = name

    _change(path, enter)


def write_atomically(path: Path, text: str, *, mode: int = 0o600, replace: bool = True) -> None:
    """Put a whole file in place: a neighbour is written, synced and renamed. FileExistsError unless ``replace``."""
    beside = path.with_name(f".{path.name}.{secret_token()[:8]}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _place(tree: Any, username: str) -> int | None:
    users: list[Any] = tree.get("users") or []
    return next((place for place, user in enumerate(users) if user.get("username") == username), None)


def _known_place(tree: Any, username: str) -> int:
    place = _place(tree, username)
    if place is None:
        raise ConfigInvalid([f"❌ User {username!r} is not in config.yml"])
    return place


def _change(path: Path, change: Callable[[Any], None]) -> None:
    """Apply a change to the file; the file is read again afterwards, and a difference is an error and not written."""
    path = path.resolve()
    with locked(path.parent):
        try:
            wanted = read_yaml(path)
            text = _rendered(path, change)
            change(wanted)
            written = parse_yaml(text, name=path.name)
        except FileNotFoundError:
            raise ConfigInvalid([f"❌ Configuration not found: {path}"]) from None
        except YamlInvalid as error:
            raise ConfigInvalid([f"❌ {error}"]) from None
        except (AttributeError, KeyError, TypeError):
            raise ConfigInvalid([f"❌ {path.name} cannot be edited: run 'tom config check'"]) from None
        if written != wanted:
            raise ConfigInvalid([f"❌ {path.name} cannot be edited without loss: change it by hand"])
        write_atomically(path, text, mode=path.stat().st_mode & 0o777)


def _rendered(path: Path, change: Callable[[Any], None]) -> str:
    from ruamel.yaml import YAML, YAMLError  # noqa: PLC0415 - only who edits a file pays for it

    yaml: Any = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise YamlInvalid(f"{path.name}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if tree is None:
        tree = cast("dict[str, Any]", {})
    change(tree)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


@contextlib.contextmanager
def locked(directory: Path) -> Generator[None]:
    """One editor of a directory's files at a time; ConfigInvalid when another holds on for too long."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigInvalid([f"❌ {directory} is being changed by another process"]) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
