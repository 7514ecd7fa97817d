"""The documented variables, each with what it overrides and how its text is read.

A variable that does not begin with ``TOM_`` is a key of the same name in lower case too, at the top of config.yml or of a
chat file; it is read the same way there, and refused in the same words.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from tom.config.values import network, web_url

PROMPT_CHARACTERS: Final = 100_000
NONE_WHEN_BLANK: Final = "MCP_AGENT_SERVERS"
"""The one variable that means something without a value: no servers."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

type Reader = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Variable:
    """A documented variable. ``path`` is the key it overrides; without one it is read where it is used.

    ``default`` is what holds without it, as text. ``aliases`` are further names of its key in a file. ``group`` heads it
    in the example files; without one it is not shown there.
    """

    name: str
    path: str
    meaning: str
    read: Reader | None = None
    default: str = ""
    aliases: tuple[str, ...] = ()
    secret: bool = False
    group: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is called at the top of a file; empty for what only a variable says."""
        return () if self.name.startswith("TOM_") or self.read is None else (self.name.lower(), *self.aliases)


def _words(name: str, value: Any) -> str:
    """Text as it is; ValueError for anything else, so that no number loses its zeros."""
    if not isinstance(value, str):
        message = f"{name} must be text{'; put it in quotes' if isinstance(value, bool | int | float) else ''}."
        raise ValueError(message)  # noqa: TRY004 - a refusal like all others
    return value


def _text(name: str, value: Any) -> str:
    return _words(name, value).strip()


def _one_of(*choices: str) -> Reader:
    def read(name: str, value: Any) -> str:
        for choice in choices:
            if str(value).strip().lower() == choice.lower():
                return choice
        message = f"{name} must be one of: {', '.join(choices)}."
        raise ValueError(message)

    return read


def _flag(name: str, value: Any) -> bool:
    truth = value if isinstance(value, bool) else _TRUTHS.get(str(value).strip().lower())
    if truth is None:
        message = f"{name} must be true or false."
        raise ValueError(message)
    return truth


def _number(name: str, value: Any) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        message = f"{name} must be a number."
        raise ValueError(message)
    return found


def _above_zero(name: str, value: Any) -> float:
    found = _number(name, value)
    if found <= 0:
        message = f"{name} must be greater than 0."
        raise ValueError(message)
    return found


def _integer(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError  # noqa: TRY004, TRY301 - refused below like text that is no integer
        return int(value)
    except (TypeError, ValueError):
        message = f"{name} must be an integer."
        raise ValueError(message) from None


def _within(least: int, most: int | None, refusal: str) -> Reader:
    def read(name: str, value: Any) -> int:
        found = _integer(name, value)
        if found < least or (most is not None and found > most):
            raise ValueError(refusal.format(name=name))
        return found

    return read


def _like(pattern: re.Pattern[str], refusal: str) -> Reader:
    def read(name: str, value: Any) -> str:
        text = _text(name, value)
        if not pattern.fullmatch(text):
            raise ValueError(refusal.format(name=name))
        return text

    return read


def _url(name: str, value: Any) -> str:
    try:
        return web_url(_text(name, value))
    except ValueError:
        message = f"{name} must be an http or https URL."
        raise ValueError(message) from None


def _networks(name: str, value: Any) -> list[str]:
    try:
        return [network(str(item)) for item in _listed(value)]
    except ValueError:
        message = f"{name} must list IP addresses or networks."
        raise ValueError(message) from None


def _listed(value: Any) -> list[Any]:
    """The items of a list, or of text with commas between them; ValueError for anything else."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - the caller has the words
    return [item.strip() for item in value.split(",") if item.strip()]


def _servers(name: str, value: Any) -> list[str]:
    """Names, comma-separated, as a list or as a JSON list."""
    try:
        if isinstance(value, str) and value.lstrip().startswith(("[", "{", '"')):
            value = json.loads(value)
            if not isinstance(value, list):
                raise ValueError  # noqa: TRY301 - refused below with what is no list at all
        found = _listed(value)
        if not all(isinstance(item, str) for item in found):
            raise ValueError  # noqa: TRY301 - likewise
    except ValueError:
        message = f"{name} must be a comma-separated string or list."
        raise ValueError(message) from None
    return [item.strip() for item in found if item.strip()]


def _prompt(name: str, value: Any) -> str:
    text = _words(name, value)
    if len(text) > PROMPT_CHARACTERS:
        message = f"{name} is too long."
        raise ValueError(message)
    return text


_level = _one_of(*_LEVELS)
_port = _within(1, 65_535, "{name} must be an integer between 1 and 65535.")
_table = _like(_TABLE, "{name} must be 1 to 64 letters, digits or _, and begin with no digit.")
_memory = _within(1, None, "Memory limits must be at least 1.")

_MODELS, _SERVICES, _DOORS = "Language models", "MCP services", "Who may call, and how often"
_MEMORY, _ARCHIVE, _REST = "Sessions", "Archive of conversations (a mirror)", "Logs, metrics, files"

VARIABLES: Final = (
    Variable("DEFAULT_PROVIDER", "default_provider", "a provider's name, or `mcp-agent`", _text, "mcp-agent",
             ("default_provider_name",), group=_MODELS),
    Variable("MCP_AGENT_LLM", "mcp_agent_llm", "provider used; wins over `llm.active` and `global.llm`", _text,
             aliases=("mcp_agent_llm_provider",), group=_MODELS),
    Variable("MCP_AGENT_MODEL", "mcp_agent_model", "model of the provider used, for all levels", _text,
             aliases=("mcp_agent_default_model",), group=_MODELS),
    Variable("OPENROUTER_KEY", "openrouter_key", "key of OpenRouter", _text, secret=True, group=_MODELS),
    Variable("OPENROUTER_BASE_URL", "openrouter_base_url", "where OpenRouter answers", _url,
             "https://openrouter.ai/api/v1", group=_MODELS),
    Variable("OPENROUTER_MODEL", "openrouter_model", "model of an OpenRouter that names none", _text, "openrouter/auto",
             ("openrouter_default_model",), group=_MODELS),
    Variable("PROVIDER_TIMEOUT_SECONDS", "provider_timeout_seconds", "seconds without a byte from a model", _above_zero,
             "30", group=_MODELS),
    Variable("MCP_AGENT_CONFIG", "mcp_agent_config", "a YAML file with `mcp.servers`, besides those of config.yml",
             _text, group=_SERVICES),
    Variable("MCP_AGENT_SERVERS", "mcp_agent_servers", "which of these, comma-separated or as JSON list; blank: none",
             _servers, group=_SERVICES),
    Variable("MCP_AGENT_APP_NAME", "mcp_agent_app_name", "what services are told the program is called", _text,
             "chat-backend", group=_SERVICES),
    Variable("MCP_SERVER_URL", "mcp_server_url", "one HTTP service `legacy`; deprecated, use `services`", _url,
             group=_SERVICES),
    Variable("MCP_API_KEY", "mcp_api_key", "Bearer key of `MCP_SERVER_URL`", _text, secret=True, group=_SERVICES),
    Variable("CHAT_AUTH", "chat.auth", "who may call an agent that runs alone; default by its address: `local`, `token`",
             _one_of("local", "token", "public"), group=_DOORS),
    Variable("ADMIN_TOKEN", "admin_token", "opens `/admin`, 16 characters or more; unset: there is none", _text,
             secret=True, group=_DOORS),
    Variable("RATE_RPS", "rate_rps", "requests a second that one caller may make on average", _above_zero, "1.0",
             group=_DOORS),
    Variable("RATE_BURST", "rate_burst", "and at once", _within(1, None, "{name} must be at least 1."), "5",
             group=_DOORS),
    Variable("TRUSTED_PROXIES", "global.trusted_proxies", "comma-separated addresses or networks", _networks,
             group=_DOORS),
    Variable("INITIAL_SYSTEM_PROMPT", "initial_system_prompt", "instructions that each new session begins with", _prompt,
             group=_MEMORY),
    Variable("MCP_AGENT_INSTRUCTION", "mcp_agent_instruction", "the same; wins over `INITIAL_SYSTEM_PROMPT`", _prompt,
             group=_MEMORY),
    Variable("MEMORY_DEFAULT", "memory_default", "messages of a session that its model is sent", _memory, "10",
             group=_MEMORY),
    Variable("MEMORY_MAX", "memory_max", "the most that a session may ask for", _memory, "50", group=_MEMORY),
    Variable("REDIS_URL", "redis_url", "keeps session memory and rate limits in Redis", _text, secret=True,
             group=_MEMORY),
    Variable("HISTORY_STORAGE_BACKEND", "history_storage_backend", "`none`, `mysql`, `mongodb` or `redis`",
             _one_of("none", "mysql", "mongodb", "redis"), "none", group=_ARCHIVE),
    Variable("HISTORY_NAMESPACE", "history_namespace", "keeps several installations apart in one archive",
             _like(_NAMESPACE, "{name} must be 1 to 64 letters, digits, _ or -."), "chat_history", group=_ARCHIVE),
    Variable("HISTORY_MYSQL_HOST", "history_mysql_host", "where MySQL or MariaDB answers", _text, "localhost",
             group=_ARCHIVE),
    Variable("HISTORY_MYSQL_PORT", "history_mysql_port", "its port", _port, "3306", group=_ARCHIVE),
    Variable("HISTORY_MYSQL_USER", "history_mysql_user", "its account; `{user}` stands for the person", _text,
             group=_ARCHIVE),
    Variable("HISTORY_MYSQL_PASSWORD", "history_mysql_password", "of that account", _words, secret=True, group=_ARCHIVE),
    Variable("HISTORY_MYSQL_DATABASE", "history_mysql_database", "the database", _text, group=_ARCHIVE),
    Variable("HISTORY_MYSQL_SESSION_TABLE", "history_mysql_session_table", "table of sessions", _table, "chat_sessions",
             group=_ARCHIVE),
    Variable("HISTORY_MYSQL_MESSAGE_TABLE", "history_mysql_message_table", "table of messages", _table, "chat_messages",
             group=_ARCHIVE),
    Variable("HISTORY_MONGODB_URI", "history_mongodb_uri", "where MongoDB answers", _text, "mongodb://localhost:27017",
             secret=True, group=_ARCHIVE),
    Variable("HISTORY_MONGODB_DATABASE", "history_mongodb_database", "the database", _text, "chat_history",
             group=_ARCHIVE),
    Variable("HISTORY_MONGODB_SESSION_COLLECTION", "history_mongodb_session_collection", "collection of sessions", _text,
             "chat_sessions", group=_ARCHIVE),
    Variable("HISTORY_MONGODB_MESSAGE_COLLECTION", "history_mongodb_message_collection", "collection of messages", _text,
             "chat_messages", group=_ARCHIVE),
    Variable("HISTORY_REDIS_URL", "history_redis_url", "where Redis answers; else `REDIS_URL`", _text, secret=True,
             group=_ARCHIVE),
    Variable("METRICS_ENABLED", "metrics_enabled", "whether `GET /metrics` is there", _flag, "true", group=_REST),
    Variable("LOG_LEVEL", "global.log_level", "what is logged at least", _level, "INFO", group=_REST),
    Variable("TOM_LOG_LEVEL", "global.log_level", "the same; wins over `LOG_LEVEL`", _level),
    Variable("TOM_LOG_FORMAT", "global.log_format", "`text` or `json`", _one_of("text", "json")),
    Variable("TOM_SUPERVISED", "global.supervised", "somebody starts Tom again when it ends: `POST /admin/restart` may",
             _flag),
    Variable("TOM_DEBUG_LLM", "global.debug_llm", "requests to models and answers are written to `users/<user>/debug/`", _flag),
    Variable("APP_CONFIG_FILE", "", "a chat file besides config.yml; else the first `app.config.yaml` or `.yml` there is",
             group=_REST),
    Variable("TZ", "", "time zone when `global.timezone` is not set"),
    Variable("TOM_DATA", "", "the data directory"),
    Variable("TOM_CONFIG", "", "another config.yml"),
    Variable("TOM_USERNAME", "", "the user of `tom agent`"),
    Variable("TOM_AGENT_SECRET", "", "secret between gateway and agent; wins over `agent.secret`"),
    Variable("TOM_TLS_PASSPHRASE", "", "passphrase of `tls/key.pem`"),
)  # fmt: skip
"""In the order in which the example files show them."""
