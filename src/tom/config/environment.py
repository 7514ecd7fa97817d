"""What the environment and `.env` say: which variables are documented, and how they override the file."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tom.config import schema
from tom.config.invalid import problem
from tom.config.secret import Secret
from tom.config.values import network, web_url
from tom.config.yamltext import YamlInvalid, parse_value

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Variable:
    """A documented variable. ``path`` is the key it overrides; without one it is read where it is used."""

    name: str
    path: str
    meaning: str
    read: Callable[[str, str], Any] | None = None


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        for choice in choices:
            if text.strip().lower() == choice.lower():
                return choice
        message = f"{name} must be one of: {', '.join(choices)}."
        raise ValueError(message)

    return read


def _seconds(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        message = f"{name} must be a number."
        raise ValueError(message) from None
    if not 0 < number < float("inf"):
        message = f"{name} must be greater than 0."
        raise ValueError(message)
    return number


def _url(name: str, text: str) -> str:
    try:
        return web_url(text.strip())
    except ValueError:
        message = f"{name} must be an http or https URL."
        raise ValueError(message) from None


def _networks(name: str, text: str) -> list[str]:
    try:
        return [network(item) for item in text.split(",") if item.strip()]
    except ValueError:
        message = f"{name} must list IP addresses or networks."
        raise ValueError(message) from None


def _text(_name: str, text: str) -> str:
    return text.strip()


_level = _one_of(*_LEVELS)
VARIABLES = (
    Variable("LOG_LEVEL", "global.log_level", "what is logged at least", _level),
    Variable("TOM_LOG_LEVEL", "global.log_level", "the same; wins over `LOG_LEVEL`", _level),
    Variable("TOM_LOG_FORMAT", "global.log_format", "`text` or `json`", _one_of("text", "json")),
    Variable("TRUSTED_PROXIES", "global.trusted_proxies", "comma-separated addresses or networks", _networks),
    Variable("DEFAULT_PROVIDER", "default_provider", "a provider's name, or `mcp-agent`", _text),
    Variable("MCP_AGENT_LLM", "mcp_agent_llm", "provider used; wins over `llm.active` and `global.llm`", _text),
    Variable("MCP_AGENT_MODEL", "mcp_agent_model", "model of the provider used, for all levels", _text),
    Variable("OPENROUTER_BASE_URL", "openrouter_base_url", "where OpenRouter answers", _url),
    Variable("OPENROUTER_MODEL", "openrouter_model", "model of an OpenRouter that names none", _text),
    Variable(
        "PROVIDER_TIMEOUT_SECONDS", "provider_timeout_seconds", "seconds without a byte from a model; 30", _seconds
    ),
    Variable("MCP_AGENT_CONFIG", "", "a YAML file with `mcp.servers`, besides those of config.yml"),
    Variable("MCP_AGENT_SERVERS", "", "which of these, comma-separated or as JSON list; blank: none"),
    Variable("MCP_SERVER_URL", "mcp_server_url", "one HTTP service `legacy`; deprecated, use `services`", _url),
    Variable("MCP_API_KEY", "", "Bearer key of `MCP_SERVER_URL`"),
    Variable("TZ", "", "time zone when `global.timezone` is not set"),
    Variable("TOM_DATA", "", "the data directory"),
    Variable("TOM_CONFIG", "", "another config.yml"),
    Variable("TOM_USERNAME", "", "the user of `tom agent`"),
    Variable("TOM_AGENT_SECRET", "", "secret between gateway and agent; wins over `agent.secret`"),
    Variable("TOM_TLS_PASSPHRASE", "", "passphrase of `tls/key.pem`"),
)


class Environment:
    """Variables by precedence: the environment, `.env` of the working directory, `.env` of the data directory."""

    def __init__(self, env: Mapping[str, str], *dotenv_directories: Path) -> None:
        """Blank values are as if they were not there."""
        self.values: dict[str, str] = {}
        self.blank: set[str] = set()
        """Names that are there without a value."""
        self._sources: dict[str, str] = {}
        layers: list[tuple[str, Mapping[str, str | None]]] = [("environment", env)]
        layers += [(".env", _dotenv(directory / ".env")) for directory in dotenv_directories]
        for source, layer in layers:
            for name, value in layer.items():
                if not value or not value.strip():
                    self.blank.add(name)
                elif name not in self.values:
                    self.values[name] = value
                    self._sources[name] = source

    def source(self, name: str) -> str:
        """``environment`` or ``.env``."""
        return self._sources.get(name, "environment")

    def apply(self, tree: dict[str, Any]) -> tuple[dict[schema.Path, str], list[str]]:
        """Override the file's tree in place. Answers which variable set which path, and errors."""
        origins: dict[schema.Path, str] = {}
        errors: list[str] = []
        for variable in VARIABLES:
            text = self.values.get(variable.name)
            if text is None or variable.read is None:
                continue
            path = tuple(variable.path.split("."))
            try:
                _put(tree, path, variable.read(variable.name, text))
                origins[path] = variable.name
            except ValueError as error:
                errors.append(problem(self.source(variable.name), str(error)))
        for name, text in self.values.items():
            if not name.startswith("TOM_") or "__" not in name:
                continue
            path = schema.spelled(name.removeprefix("TOM_").split("__"), tree)
            try:
                _put(tree, path, _typed(path, text))
                origins[path] = name
            except ValueError as error:
                errors.append(problem(self.source(name), f"{name} {error}"))
        return origins, errors


def _dotenv(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - only where there is such a file

    try:
        return dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}


def _typed(path: schema.Path, text: str) -> Any:
    """Text, or the list or mapping that the key needs, in YAML or JSON."""
    if not text.lstrip().startswith(("[", "{")) or schema.holds(path) in {str, Secret}:
        return text
    try:
        return parse_value(text, name="value")
    except YamlInvalid:
        message = "must be valid YAML or JSON"
        raise ValueError(message) from None


def _put(tree: dict[str, Any], path: schema.Path, value: Any) -> None:
    node: Any = tree
    for part, following in itertools.pairwise(path):
        fresh: Any = [] if isinstance(following, int) else {}
        node = _entered(node, part, fresh)
    _entered(node, path[-1], value, replace=True)


def _entered(node: Any, part: str | int, fresh: Any, *, replace: bool = False) -> Any:
    if isinstance(node, list) and isinstance(part, int):
        items = cast("list[Any]", node)
        if part == len(items):
            items.append(fresh)
        elif part > len(items):
            message = f"leaves out place {len(items)} of the list"
            raise ValueError(message)
        elif replace or items[part] is None:
            items[part] = fresh
        return items[part]
    if isinstance(node, dict):
        keys = cast("dict[str | int, Any]", node)
        if replace or keys.get(part) is None:
            keys[part] = fresh
        return keys[part]
    message = "cannot be put where the file has something else"
    raise ValueError(message)
