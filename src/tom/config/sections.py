"""What config.yml may contain. Everything else is refused: a key that did nothing would be a lie.

The descriptions are those of docs/reference/configuration.md, which is generated from here.
"""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tom.config.entries import McpServerSection, Section, SharedServiceSection, UserSection
from tom.config.flatsections import FlatSection, HistorySection, MetricsSection, RateLimitsSection, RedisSection
from tom.config.limits import LimitsSection
from tom.config.llmsections import LlmSection, LlmTableSection
from tom.config.mcpsections import McpSection, McpSettingsSection
from tom.config.policy import PolicySection
from tom.config.retention import RepositorySection
from tom.config.values import Host, Language, Level, Loopback, Network, Number, Prose, ServiceName, Whole, Zone


class LogFileSection(Section):
    """`global.log_file`."""

    path: str = Field(min_length=1, description="the file, relative to the data directory; mode 0600")
    max_mb: Whole = Field(default=20, ge=1, le=10_000, description="size in MiB at which it starts anew")
    keep: Whole = Field(default=5, ge=0, le=1000, description="how many old ones stay")


class PersonaSection(Section):
    """`global.persona`."""

    name: str = Field(default="Tom", min_length=1, max_length=100, description="what the assistant is called")
    instructions: Prose = Field(default="", description="how it behaves; at most 8 KiB")


class ListenSection(Section):
    """`global.listen`."""

    host: Host = Field(default="0.0.0.0", description="address of the HTTPS listener")
    port: Whole | None = Field(
        default=None, ge=1, le=65_535, description="its port; default 443, or 8443 where the process may not bind 443"
    )
    loopback_http: Loopback | None = Field(
        default=None, description="a second listener without TLS, `127.0.0.1:8081`; loopback addresses only"
    )


class GlobalSection(Section):
    """`global`."""

    log_level: Level = Field(default="INFO", description="what is logged at least")
    log_format: Literal["text", "json"] = Field(default="text", description="default of an agent run alone: json")
    log_timestamps: Literal["milliseconds", "seconds"] = Field(default="milliseconds", description="of the text form")
    audit_days: int = Field(
        default=365, ge=1, le=36_500, description="days after which whole months of the record are sealed into files"
    )
    log_file: LogFileSection | None = Field(default=None, description="a file besides stderr")
    sessions: str | None = Field(default=None, min_length=1, description="directory for the file of logins, 0700")
    all_datadir: str | None = Field(
        default=None, min_length=1, description="files for all users, read-only; default `<data>/all`"
    )
    llm: str | None = Field(
        default=None, min_length=1, description="default LLM, or `scripted`; unset: the first usable of `llms`"
    )
    llm_tts: str | None = Field(default=None, min_length=1, description="LLM that words speech; else `global.llm`")
    llm_triage: str | None = Field(
        default=None, min_length=1, description="LLM that chooses services; else `global.llm`"
    )
    llm_behavior: str | None = Field(
        default=None, min_length=1, description="LLM that tunes behaviours; else `global.llm`"
    )
    llms: dict[str, LlmSection] = Field(default_factory=dict, description="")
    llm_fallbacks: list[str] | None = Field(
        default=None, description="who is asked when an LLM fails; unset: the others in file order; `[]`: nobody"
    )
    default_level: Whole = Field(default=1, ge=0, le=2, description="level of a message that names none")
    timezone: Zone | None = Field(default=None, description="IANA name; default: the variable `TZ`, else UTC")
    language: Language = Field(default="en", description="language tag of Tom's own texts")
    persona: PersonaSection = Field(default_factory=PersonaSection, description="")
    listen: ListenSection = Field(default_factory=ListenSection, description="")
    public_hosts: list[Host] = Field(
        default_factory=list, description="accepted `Host` names; default: the certificate's, localhost, own addresses"
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list, description="addresses or networks whose `X-Forwarded-*` count"
    )
    cors_origins: list[str] = Field(
        default_factory=list,
        description="other origins whose pages may use the doors, exactly, with a token; never `*`",
    )
    supervised: bool = Field(
        default=False, description="somebody starts Tom again when it ends: `POST /admin/restart` may end it"
    )
    debug_llm: bool = Field(
        default=False,
        description="requests to models and their answers are written to `users/<user>/debug/`, kept for 7 days",
    )
    proxy_timeout: Number = Field(default=300, ge=1, le=3600, description="seconds without a byte from an agent")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s@?#*]+", origin):
                raise ValueError("must be origins, such as https://shop.example")
        return origins


class LoginSection(Section):
    """`login`."""

    idle_days: Number = Field(default=7, ge=1, le=90, description="a login ends after so many days without use")
    max_days: Number = Field(default=30, ge=1, le=365, description="a login ends after so many days")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.idle_days > self.max_days:
            raise ValueError("idle_days must not be greater than max_days")
        return self


class SpawnerSection(Section):
    """`spawner`."""

    kind: Literal["auto", "process"] = Field(default="auto", description="how agents run; `auto` is `process`")
    start_timeout: Number = Field(default=30, ge=1, le=600, description="seconds a request waits for its agent's start")
    idle_stop: Number = Field(default=900, ge=1, le=604_800, description="an idle agent stops after so many seconds")
    max_agents: Whole = Field(default=50, ge=1, le=100_000, description="most agents at once")


class TriageSection(Section):
    """`triage`."""

    skip_below: Whole = Field(
        default=3, ge=0, le=1000, description="with at most so many services all are used, without asking a model"
    )
    timeout: Number = Field(default=10, ge=1, le=120, description="seconds that the choice of services may take")


class MemorySection(Section):
    """`memory`."""

    min_score: Number = Field(default=0.30, ge=0, le=1, description="memories that fit worse are not told to a model")


# --- chat --------------------------------------------------------------------------------------------------------


class ConcurrencySection(Section):
    """`chat.websocket.concurrency`."""

    max_connections: Whole = Field(default=1000, ge=1, le=1_000_000, description="sockets of one process")
    connection_queue_size: Whole | None = Field(
        default=None, ge=1, le=1_000_000, description="accepted and checked: `max_connections` or more"
    )

    @model_validator(mode="after")
    def _holds_all(self) -> Self:
        if self.connection_queue_size is not None and self.connection_queue_size < self.max_connections:
            raise ValueError("connection_queue_size must not be less than max_connections")
        return self


class WebsocketSection(Section):
    """`chat.websocket`."""

    host: Host = Field(default="localhost", description="address of an agent run alone")
    port: Whole = Field(default=8000, ge=1, le=65_535, description="its port")
    endpoint: str = Field(
        default="/ws/chat", pattern=r"^/[A-Za-z0-9/_.-]*$", max_length=200, description="path of the socket"
    )
    allow_origins: list[str] = Field(default_factory=list, description="other origins that may connect, exactly")
    allow_credentials: bool = Field(default=True, description="whether those may send cookies and tokens")
    max_message_size: Whole = Field(default=16_777_216, ge=1024, le=268_435_456, description="bytes of one frame")
    ping_interval: Number = Field(default=20, ge=1, le=3600, description="seconds between pings")
    ping_timeout: Number = Field(default=10, ge=1, le=3600, description="seconds until a ping must be answered")
    concurrency: ConcurrencySection = Field(default_factory=ConcurrencySection, description="")
    max_connections_per_user: Whole = Field(default=32, ge=1, le=1_000_000, description="sockets of one user")
    send_buffer: Whole = Field(default=1_048_576, ge=65_536, le=268_435_456, description="unsent bytes of one socket")
    actions_per_second: Whole = Field(default=50, ge=1, le=100_000, description="actions of one socket")

    @field_validator("allow_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin not in {"*", "null"} and not re.fullmatch(r"https?://[^/\s@?#]+", origin):
                raise ValueError("must be origins, such as https://chat.example")
        return origins


class SwitchSection(Section):
    """Something that can be switched off."""

    enabled: bool = Field(default=True, description="")


class ToolNotificationsSection(SwitchSection):
    """`chat.service.tool_notifications`."""

    show_args: bool = Field(default=False, description="with the arguments, keys and passwords hidden")
    icon: str = Field(default="🔧", max_length=16, description="stands for `{icon}` in the format")
    format: str = Field(
        default="{icon} Executing tool: {tool_name}", min_length=1, max_length=200, description="one line for each tool"
    )

    @field_validator("format")
    @classmethod
    def _fields(cls, text: str) -> str:
        if re.search(r"[{}]", text.replace("{icon}", "").replace("{tool_name}", "")):
            raise ValueError("may contain {icon} and {tool_name}, and no other braces")
        return text


class _LengthsSection(Section):
    """Three sizes in tokens."""

    short: Whole | None = Field(default=None, ge=1, description="tokens")
    medium: Whole | None = Field(default=None, ge=1, description="tokens; not less than `short`")
    long: Whole | None = Field(default=None, ge=1, description="tokens; not less than `medium`")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        given = [value for value in self.model_dump().values() if value is not None]
        if given != sorted(given):
            raise ValueError(f"must be ascending: {', '.join(type(self).model_fields)}")
        return self


class ConversationLimitsSection(_LengthsSection):
    """`chat.service.context.conversation_limits`: accepted and checked."""


class ResponseTokensSection(_LengthsSection):
    """`chat.service.context.response_tokens`: accepted and checked; `max` bounds every reply."""

    max: Whole | None = Field(default=None, ge=1, description="most tokens of one reply, whatever a model allows")


class ContextSection(Section):
    """`chat.service.context`."""

    max_tokens: Whole = Field(default=4000, ge=1, description="size of a whole prompt")
    reserve_tokens: Whole = Field(default=500, ge=0, description="part of it left free for the reply")
    preserve_recent: Whole = Field(default=5, ge=0, le=1000, description="newest messages that no summary replaces")
    compaction: bool = Field(default=True, description="a summary stands for what does not fit any more")
    conversation_limits: ConversationLimitsSection = Field(default_factory=ConversationLimitsSection, description="")
    response_tokens: ResponseTokensSection = Field(default_factory=ResponseTokensSection, description="")

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.reserve_tokens >= self.max_tokens:
            raise ValueError("reserve_tokens must be less than max_tokens")
        return self


class ChatServiceSection(Section):
    """`chat.service`."""

    streaming: SwitchSection = Field(default_factory=SwitchSection, description="text is sent as it comes")
    tool_notifications: ToolNotificationsSection = Field(
        default_factory=ToolNotificationsSection, description="clients are told of tool calls"
    )
    show_thinking: bool = Field(default=False, description="clients are sent what a model thinks")
    titles: bool = Field(default=True, description="a model of level 0 names each conversation after its first answer")
    max_tool_hops: Whole = Field(default=8, ge=1, le=64, description="turns of one run")
    max_parallel_runs: Whole = Field(default=4, ge=1, le=64, description="runs of one user at once")
    run_deadline_seconds: Number = Field(default=900, ge=1, le=86_400, description="a run fails after so many seconds")
    context: ContextSection = Field(default_factory=ContextSection, description="")


class ApprovalsSection(Section):
    """`chat.approvals`."""

    expire_hours: Number = Field(default=72, gt=0, le=8760, description="what is asked waits so long for its answer")


class RestSection(Section):
    """`chat.rest`."""

    wait_seconds: Number = Field(
        default=290, ge=1, le=3600, description="seconds a request waits for its answer; then it is 202"
    )


class ChatSection(Section):
    """`chat`."""

    auth: Literal["local", "token", "public"] | None = Field(
        default=None, description="who may call an agent that runs alone; default by its address: `local`, `token`"
    )
    rest: RestSection = Field(default_factory=RestSection, description="")
    websocket: WebsocketSection = Field(default_factory=WebsocketSection, description="")
    service: ChatServiceSection = Field(default_factory=ChatServiceSection, description="")
    approvals: ApprovalsSection = Field(default_factory=ApprovalsSection, description="")


class LoggingSection(Section):
    """`logging`: the other form of two keys of `global`."""

    level: Level | None = Field(default=None, description="as `global.log_level`")
    format: Literal["json", "console"] | None = Field(
        default=None, description="`console` is `global.log_format: text`"
    )


class Root(FlatSection):
    """The whole file."""

    global_: GlobalSection = Field(default_factory=GlobalSection, alias="global", description="")
    login: LoginSection = Field(default_factory=LoginSection, description="")
    spawner: SpawnerSection = Field(default_factory=SpawnerSection, description="")
    triage: TriageSection = Field(default_factory=TriageSection, description="")
    users: list[UserSection] = Field(default_factory=list[UserSection], description="")
    services: dict[ServiceName, SharedServiceSection] = Field(default_factory=dict, description="")
    mcp_servers: dict[ServiceName, McpServerSection] = Field(default_factory=dict, alias="mcpServers", description="")
    mcp: McpSection = Field(default_factory=McpSection, description="")
    settings: McpSettingsSection = Field(default_factory=McpSettingsSection, description="")
    llm: LlmTableSection = Field(default_factory=LlmTableSection, description="")
    memory: MemorySection = Field(default_factory=MemorySection, description="")
    chat: ChatSection = Field(default_factory=ChatSection, description="")
    repository: RepositorySection = Field(default_factory=RepositorySection, description="")
    policy: PolicySection = Field(default_factory=PolicySection, description="")
    limits: LimitsSection = Field(default_factory=LimitsSection, description="")
    logging: LoggingSection = Field(default_factory=LoggingSection, description="")
    rate_limits: RateLimitsSection = Field(default_factory=RateLimitsSection, description="")
    redis: RedisSection = Field(default_factory=RedisSection, description="")
    history: HistorySection = Field(default_factory=HistorySection, description="")
    metrics: MetricsSection = Field(default_factory=MetricsSection, description="")
