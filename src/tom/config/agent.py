"""What one agent is told: its person's slice of the settings, and nothing of anybody else.

The gateway makes it from `Settings`; it travels to the agent as one JSON document through a pipe. An agent run alone
makes it from its own files. The values are resolved: keys are looked up, defaults filled in, names checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tom.config.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmEntry:
    """One usable language model entry; ``models`` are those of level 0, 1 and 2, without provider prefix."""

    name: str
    provider: str
    base_url: str
    key: Secret
    models: tuple[str, str, str]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_retries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One MCP service: either ``url`` (streamable HTTP) or ``command`` (stdio)."""

    name: str
    url: str = ""
    headers: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    cwd: str = ""
    enabled: bool = True
    description: str = ""
    llm: str = ""
    complexity: int = 1
    timeout: float = 60.0
    connect_timeout: float = 30.0
    classes: Mapping[str, str] = field(default_factory=dict[str, str])
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """``chat.service`` and ``chat.websocket`` as the agent needs them; sizes in bytes, times in seconds."""

    max_tool_hops: int = 8
    max_parallel_runs: int = 4
    max_queue: int = 20
    run_deadline_seconds: float = 900.0
    streaming: bool = True
    show_thinking: bool = False
    tool_notifications: bool = True
    context_max_tokens: int = 4000
    context_reserve_tokens: int = 500
    host: str = "localhost"
    port: int = 8000
    endpoint: str = "/ws/chat"
    max_message_size: int = 16_777_216
    ping_interval: float = 20.0
    ping_timeout: float = 10.0
    max_connections: int = 1000
    max_connections_per_user: int = 32
    send_buffer: int = 1_048_576
    actions_per_second: int = 50
    allow_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceSettings:
    """``repository``: where history is kept. ``type``: ``sql`` or ``memory``."""

    type: str = "sql"
    path: str = "history.db"
    enabled: bool = True
    clear_on_startup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """``global.log_*``."""

    level: str = "INFO"
    format: str = "text"
    timestamps: str = "milliseconds"
    timezone: str = "UTC"
    file: str = ""
    max_mb: int = 20
    keep: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything one agent needs. ``llm`` names an entry of ``llms``, or is ``scripted`` or ``unconfigured``."""

    user: str
    home: Path
    agent_secret: Secret = field(default_factory=lambda: Secret(""))
    llm: str = "scripted"
    llms: Mapping[str, LlmEntry] = field(default_factory=dict[str, LlmEntry])
    default_level: int = 1
    services: tuple[ServiceEntry, ...] = ()
    chat: ChatSettings = field(default_factory=ChatSettings)
    persistence: PersistenceSettings = field(default_factory=PersistenceSettings)
    persona_name: str = "Tom"
    persona_instructions: str = ""
    personal_context: str = ""
    language: str = "en"
    timezone: str = "UTC"
    log: LogSettings = field(default_factory=LogSettings)
    all_datadir: str = ""
