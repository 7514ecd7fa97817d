"""The example files: every variable, and every key of a chat file, with its default and its meaning.

``python -m tom.config.examples`` writes both into examples/config/; `tom config example` prints them. All that holds
anyway is commented out: a copy changes nothing until somebody takes the mark away.
"""

import itertools
import json
import re
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tom.config import schema
from tom.config.providers import KNOWN
from tom.config.sections import Root
from tom.config.variables import VARIABLES, Variable
from tom.config.written import SECTIONS

DIRECTORY: Final = Path("examples/config")
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_ENV_HEAD: Final = """\
# Variables that Tom reads, each with its default. Copy this file to `.env` in the directory where Tom is started, or in
# its data directory, and take the mark away from what you set. What wins, first to last: the environment, `.env` of the
# working directory, `.env` of the data directory, files, defaults. `tom config explain` says what holds, and why.
# Printed by `tom config example --env`.
"""
_YAML_HEAD: Final = """\
# A chat file, for those who keep the settings of a chat service in one of its own: copy it to `app.config.yaml` in the
# data directory, the working directory or its `config/`, or name it in APP_CONFIG_FILE. Everything here may stand in
# config.yml as well; said in both places it must be said alike. This example itself is never loaded.
# Printed by `tom config example --yaml`.
"""
_SAMPLES: Final[dict[schema.Path, str]] = {
    ("llm", "providers"): "groq: {model: llama-3.3-70b-versatile}",
    ("mcp", "servers"): "demo: {transport: stdio, command: python, args: [examples/demo_server.py]}",
    ("mcpServers",): "demo: {command: python, args: [examples/demo_server.py]}",
}


def env_example() -> str:
    """`.env.example`: all variables that are keys of a file too, and those that hold keys of providers."""
    lines = [_ENV_HEAD.rstrip("\n")]
    for group, variables in _groups():
        lines += ["", f"# --- {group} ---"]
        lines += [line for variable in variables for line in (f"# {_meant(variable)}", f"#{_assignment(variable)}")]
    lines += ["", "# --- Keys of the other providers ---"]
    keys = (name for known in KNOWN.values() if known.name != "openrouter" for name in known.key_variables)
    lines += [f"#{name}=" for name in keys]
    return "\n".join(lines) + "\n"


def yaml_example() -> str:
    """`app.config.example.yaml`: the keys of the top, then the sections."""
    lines = [_YAML_HEAD.rstrip("\n")]
    for group, variables in _groups():
        lines += ["", f"# --- {group} ---"]
        for variable in variables:
            if variable.keys:
                shown = _scalar(variable.default if not variable.secret else "")
                lines += [f"# {_meant(variable)}", f"#{variable.keys[0]}: {_typed(variable, shown)}".rstrip()]
    for name, field in Root.model_fields.items():
        if (key := field.alias or name) in SECTIONS:
            lines += ["", *_section(key, field, (key,), 0)]
    return "\n".join(lines) + "\n"


def _groups() -> list[tuple[str, list[Variable]]]:
    shown = (variable for variable in VARIABLES if variable.group)
    return [(group, list(members)) for group, members in itertools.groupby(shown, key=lambda one: one.group)]


def _meant(variable: Variable) -> str:
    return variable.meaning.replace("`", "")


def _assignment(variable: Variable) -> str:
    return f"{variable.name}={'' if variable.secret else variable.default}"


def _typed(variable: Variable, shown: str) -> str:
    """Text stays text: only what is no text there may look like a number or a truth."""
    kind = schema.holds(tuple(variable.path.split(".")))
    return shown if not shown or kind not in {int, float, bool} else variable.default


def _section(key: str, field: FieldInfo, path: schema.Path, depth: int, above: str = "") -> list[str]:
    """A key with what is below it. What holds anyway is commented out, the sections around it are not."""
    indent = "  " * depth
    kind = schema.inner(field.annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        lines = [f"{indent}{key}:"]
        for name, inner in kind.model_fields.items():
            below = inner.alias or name
            lines += _section(below, inner, (*path, below), depth + 1, field.description or "")
        return lines
    if path in _SAMPLES:
        return [f"{indent}{key}:", f"{indent}  #{_SAMPLES[path]}"]
    note = f"{indent}# {(field.description or above).replace('`', '')}"  # a switch is described where it is
    return [note, f"{indent}#{key}: {_scalar(_default(field))}".rstrip()]


def _default(field: FieldInfo) -> Any:
    if field.default is not PydanticUndefined:
        return field.default
    return cast("Any", field.default_factory)() if field.default_factory is not None else None


def _scalar(value: Any) -> str:
    """A default in YAML; nothing for what has none."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and not value[0].isdigit() else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / ".env.example").write_text(env_example(), encoding="utf-8")
    (DIRECTORY / "app.config.example.yaml").write_text(yaml_example(), encoding="utf-8")
