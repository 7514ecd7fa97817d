"""The first config.yml: with the language model whose key is at hand, else the scripted one; and one user, an admin."""

import getpass
import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tom.config.edit import add_llm, write_atomically
from tom.config.environment import Environment
from tom.config.invalid import ConfigInvalid
from tom.config.providers import KNOWN, KnownProvider, key_variable, usable_key
from tom.config.secret import Secret
from tom.config.values import time_zone, username, web_url
from tom.config.vendors import Ask, ask_all, choose_models, list_models
from tom.config.written import found_chat_file
from tom.config.yamltext import YamlInvalid, read_yaml

_EXAMPLE_PROGRAM = "mcp-server-time"


@dataclass(frozen=True, slots=True)
class FirstConfig:
    """What was written: where, for whom, and the name of the default LLM (``scripted`` without any key)."""

    path: Path
    user: str
    llm: str


@dataclass(frozen=True, slots=True)
class _Found:
    provider: KnownProvider
    variable: str
    models: tuple[str, str, str]


def first_user(env: Mapping[str, str] = os.environ, given: str = "") -> str:
    """The first user's name: as given, else the login name where it can be one, else ``admin``."""
    if given:
        return username(given)
    try:
        return username((env.get("USER") or getpass.getuser()).lower())
    except (ValueError, OSError, KeyError):
        return "admin"


def write_first_config(
    data_dir: Path, env: Mapping[str, str] = os.environ, user: str = "", *, ask: Ask = list_models
) -> FirstConfig:
    """Write ``<data_dir>/config.yml``, 0600, and make the directory where it is missing, 0700.

    FileExistsError when there is one: nothing is overwritten. ValueError for a name that no user can have.
    """
    name = first_user(env, user)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / "config.yml"
    if path.exists():
        raise FileExistsError(path)
    variables = Environment(env, Path.cwd(), data_dir).values
    found, llm = _vendors(variables, ask)
    text = _rendered(found, llm, name, env, chat=_in_chat_file(data_dir))
    write_atomically(path, text, replace=False)
    return FirstConfig(path, name, llm)


def adopt(
    config_path: Path, provider: str, env: Mapping[str, str] = os.environ, *, ask: Ask = list_models
) -> tuple[str, str, str]:
    """Enter the vendor whose key is in the environment or `.env` into config.yml and make it the default LLM.

    Returns the models' names. ConfigInvalid for an unknown vendor or a key that is not there.
    """
    known = KNOWN.get(provider)
    if known is None:
        raise ConfigInvalid([f"❌ Unknown provider {provider!r}: one of {', '.join(KNOWN)}"])
    variables = Environment(env, Path.cwd(), config_path.parent).values
    variable = key_variable(known, variables)
    if variable and not usable_key(variables.get(variable, "")):
        raise ConfigInvalid([f"❌ {variable} is not set in the environment or .env"])
    listed = ask_all([(known, _base_url(known, variables), Secret(variables.get(variable, "")))], ask)
    models = _prefixed(known, choose_models(known, listed.get(provider)))
    add_llm(config_path, provider, variable, models)
    return models


def _vendors(variables: Mapping[str, str], ask: Ask) -> tuple[list[_Found], str]:
    """All vendors whose key is there, and the first that answers; asked all at once, at most 2 s."""
    keyed = [
        (known, variable, Secret(variables[variable].strip()))
        for known in KNOWN.values()
        if usable_key(variables.get(variable := key_variable(known, variables), ""))
    ]
    listed = ask_all([(known, _base_url(known, variables), key) for known, _, key in keyed], ask)
    found = [_Found(known, variable, choose_models(known, listed.get(known.name))) for known, variable, _ in keyed]
    answering = [vendor.provider.name for vendor in found if vendor.provider.name in listed]
    return found, next(iter(answering or [vendor.provider.name for vendor in found]), "scripted")


def _base_url(known: KnownProvider, variables: Mapping[str, str]) -> str:
    moved = variables.get("OPENROUTER_BASE_URL", "") if known.name == "openrouter" else ""
    try:
        return web_url(moved.strip()).rstrip("/") if moved else known.base_url
    except ValueError:
        return known.base_url


def _prefixed(known: KnownProvider, models: tuple[str, str, str]) -> tuple[str, str, str]:
    first, second, third = (f"{known.name}/{model}" for model in models)
    return first, second, third


def _in_chat_file(data_dir: Path) -> Collection[str]:
    """The keys of a chat file that is there: what it says is not said again in other words."""
    path = found_chat_file(data_dir)
    try:
        return read_yaml(path, mergeable=frozenset(("chat",))).keys() if path is not None else ()
    except (OSError, YamlInvalid):
        return ()  # whoever reads the settings then says what is wrong with it


_CONTEXT = """
chat:
  service:
    context:
      # Size of a whole prompt in tokens: the more, the further back the model remembers, and the more it costs.
      max_tokens: 32000
"""


def _rendered(found: list[_Found], llm: str, user: str, env: Mapping[str, str], *, chat: Collection[str]) -> str:
    chosen = "  # Which language model answers, the chat file says." if "llm" in chat else _llm_lines(found, llm)
    return f"""\
# Tom's settings. Every key is described in docs/reference/configuration.md; `tom config check` says what is wrong.
# A secret need not stand here: name its variable, or write ${{VARIABLE}} or file:/path instead of it.

global:
{chosen}
  listen:
    # This machine only. 0.0.0.0 lets others in your network connect.
    host: 127.0.0.1
{"" if "chat" in chat else _CONTEXT}
users:
  # `tom user add NAME` enters more people; passwords are not kept here.
  - username: {user}
    role: admin

# MCP services for all users. A stdio service has a command, one over HTTP has a url:
#
# services:
#   weather:
#     url: http://127.0.0.1:9000/mcp
#     headers:
#       Authorization: Bearer ${{WEATHER_TOKEN}}
{_service_lines(env)}"""


def _llm_lines(found: list[_Found], llm: str) -> str:
    if not found:
        return """\
  # The scripted model answers by rules, offline, and says so. `tom llm add openai` (groq, openrouter, anthropic, gemini,
  # mistral, deepseek) asks for a key and enters a language model; `tom llm detect` finds one that runs on this machine.
  llm: scripted"""
    lines = [
        "  # The default one of those below, or `scripted`: answers by rules, offline.",
        f"  llm: {llm}",
        "  llms:",
    ]
    for vendor in found:
        lines += [
            f"    {vendor.provider.name}:",
            f"      env_var: {vendor.variable}",
            "      # for easy, usual and hard questions",
            "      models:",
            *(f"        - {model}" for model in _prefixed(vendor.provider, vendor.models)),
        ]
    return "\n".join(lines)


def _service_lines(env: Mapping[str, str]) -> str:
    """A service that works at once, where its program is there."""
    beside = str(Path(sys.executable).parent)
    search = os.pathsep.join(part for part in (env.get("PATH", ""), beside) if part)
    program = shutil.which(_EXAMPLE_PROGRAM, path=search)
    zone = _zone(env)
    lines = [
        "services:",
        "  time:",
        f"    command: {json.dumps(program or _EXAMPLE_PROGRAM)}",
        f"    args: [--local-timezone, {zone}]",
    ]
    if program is None:
        return "".join(f"# {line}\n" for line in lines[1:])
    return "\n" + "".join(f"{line}\n" for line in lines)


def _zone(env: Mapping[str, str]) -> str:
    try:
        return time_zone(env.get("TZ", "").removeprefix(":") or "UTC")
    except ValueError:
        return "UTC"
