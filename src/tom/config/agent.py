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
class Price:
    """What a model costs: the currency's units per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmEntry:
    """One usable language model entry; ``models`` are those of level 0, 1 and 2, without provider prefix.

    ``options`` go with each request, ``options_by_level`` (three mappings, or none) win over them. ``price`` by level,
    empty: unknown. ``context_tokens`` is the models' context window, 0: unknown. ``max_tokens`` is the longest reply
    that may be asked for, 0: the provider's own. ``vision`` None: unknown, pictures are sent. ``requests_per_minute``
    and ``concurrent_requests`` of 0: no bound.
    """

    name: str
    provider: str
    base_url: str
    key: Secret
    models: tuple[str, str, str]
    dialect: str = "openai"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    options_by_level: tuple[Mapping[str, Any], ...] = ()
    price: tuple[Price, ...] = ()
    context_tokens: int = 0
    max_tokens: int = 0
    vision: bool | None = None
    requests_per_minute: float = 0.0
    concurrent_requests: int = 0
    max_connections: int = 20
    backoff_factor: float = 2.0
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_retries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """When a service that failed is tried again: so many times in a row, after so many seconds, doubled each time."""

    attempts: int = 5
    first_delay: float = 1.0
    longest_delay: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One MCP service: ``url`` (streamable HTTP), ``command`` (stdio) or ``builtin`` (one that comes with Tom).

    ``trust``: ``trusted`` (its results are the admin's or the person's own words), ``untrusted`` (not even its
    consigns are heard), or empty: the results of a service are untrusted, its consigns are heard. ``consigns`` None:
    by ``trust``.
    """

    name: str
    url: str = ""
    builtin: str = ""
    trust: str = ""
    consigns: bool | None = None
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
    reconnect: Reconnect | None = None
    classes: Mapping[str, str] = field(default_factory=dict[str, str])
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolNotices:
    """``chat.service.tool_notifications``: ``format`` with ``{icon}`` and ``{tool_name}`` is one line per tool."""

    enabled: bool = True
    show_args: bool = False
    icon: str = "🔧"
    format: str = "{icon} Executing tool: {tool_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """``chat.service`` and ``chat.websocket`` as the agent needs them; sizes in bytes, times in seconds."""

    max_tool_hops: int = 8
    max_parallel_runs: int = 4
    max_queue: int = 20
    run_deadline_seconds: float = 900.0
    streaming: bool = True
    show_thinking: bool = False
    tool_notifications: ToolNotices = field(default_factory=ToolNotices)
    titles: bool = True
    context_max_tokens: int = 4000
    context_reserve_tokens: int = 500
    preserve_recent: int = 5
    compaction: bool = True
    approval_hours: float = 72.0
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
    retention: str = "unlimited"
    retention_tokens: int = 8000
    retention_messages: int = 100
    retention_days: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of the admin. What is empty matches everything; ``tool`` is a pattern of ``service.tool``.

    ``verdict``: allow, ask or deny. ``arguments``: name -> pattern that the value's text must match. ``until``: RFC 3339,
    the rule ends then. ``number`` is its place in the file, from 1.
    """

    number: int
    verdict: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tool: str = ""
    tool_class: str = ""
    even_when_tainted: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """``policy``. ``proposals``: ``accept`` or ``review`` (every tool whose class nobody has confirmed asks)."""

    rules: tuple[PolicyRule, ...] = ()
    proposals: str = "accept"
    max_asks: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """``limits`` of one run and of one person's day, the narrowest that applies; costs in the price table's currency."""

    tool_calls: int = 100
    parallel: int = 8
    tokens_in: int = 1_000_000
    tokens_out: int = 64_000
    result_characters: int = 100_000
    reply_bytes: int = 10_485_760
    cost_per_run: float = 2.0
    cost_per_day: float = 10.0
    tokens_per_day: int = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageSettings:
    """``triage``: no triage up to ``skip_below`` services; ``timeout`` in seconds."""

    skip_below: int = 3
    timeout: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings:
    """`RATE_RPS` and `RATE_BURST`, ``rate_limits.read``: arrivals a second on average, and at once."""

    rps: float = 1.0
    burst: int = 5
    read_rps: float = 20.0
    read_burst: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """`REDIS_URL` (empty: there is none) and ``redis``."""

    url: Secret = field(default_factory=lambda: Secret(""))
    memory_ttl_hours: float = 168.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings:
    """`HISTORY_*` and ``history``. ``backend``: none, mysql, mongodb or redis.

    ``{user}`` in user, password, database and URLs stands for the person. ``retention``: ``keep`` (the archive keeps what
    retention erases here) or ``mirror``. ``full``: with instructions and tool calls.
    """

    backend: str = "none"
    namespace: str = "chat_history"
    host: str = "localhost"
    port: int = 3306
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    database: str = ""
    uri: Secret = field(default_factory=lambda: Secret(""))
    sessions: str = "chat_sessions"
    messages: str = "chat_messages"
    retention: str = "keep"
    full: bool = False
    outbox_max_mb: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """What the doors of an agent alone, and those of every agent, go by.

    ``auth``: ``local``, ``token`` or ``public`` (of an agent alone). ``memory_default`` and ``memory_max`` count messages
    in the window of a REST session. ``rates`` None: nothing is counted, as in a test of something else.
    ``api_retention_hours``: so long stateless calls of `/v1` are kept. ``rest_wait_seconds``: so long a POST waits for its
    answer. ``supervised``: somebody starts the program again when it ends. ``audit_days``: so old rows of the record are
    sealed by whole months.
    """

    auth: str = "local"
    allow_credentials: bool = True
    public_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    admin_token: Secret = field(default_factory=lambda: Secret(""))
    initial_prompt: str = ""
    memory_default: int = 10
    memory_max: int = 50
    rates: RateSettings | None = None
    redis: RedisSettings = field(default_factory=RedisSettings)
    metrics: bool = True
    metrics_public: bool = False
    api_retention_hours: float = 24.0
    rest_wait_seconds: float = 290.0
    supervised: bool = False
    audit_days: float = 365.0


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
    """Everything one agent needs. ``llm`` names an entry of ``llms``, or is ``scripted`` or ``unconfigured``.

    ``debug_llm``: requests to models and their answers are written down. ``llm_tts``, ``llm_triage`` and
    ``llm_behavior`` empty: ``llm``. ``client_models``: ``any``, ``listed`` or ``none``.
    """

    user: str
    home: Path
    agent_secret: Secret = field(default_factory=lambda: Secret(""))
    llm: str = "scripted"
    llms: Mapping[str, LlmEntry] = field(default_factory=dict[str, LlmEntry])
    llm_fallbacks: tuple[str, ...] = ()
    llm_tts: str = ""
    llm_triage: str = ""
    llm_behavior: str = ""
    client_models: str = "any"
    listed_models: tuple[str, ...] = ()
    role: str = "user"
    groups: tuple[str, ...] = ()
    default_level: int = 1
    max_level: int = 2
    triage: TriageSettings = field(default_factory=TriageSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    memory_min_score: float = 0.30
    services: tuple[ServiceEntry, ...] = ()
    chat: ChatSettings = field(default_factory=ChatSettings)
    doors: DoorSettings = field(default_factory=DoorSettings)
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    app_name: str = "chat-backend"
    debug_llm: bool = False
    persistence: PersistenceSettings = field(default_factory=PersistenceSettings)
    persona_name: str = "Tom"
    persona_instructions: str = ""
    personal_context: str = ""
    language: str = "en"
    timezone: str = "UTC"
    log: LogSettings = field(default_factory=LogSettings)
    all_datadir: str = ""
