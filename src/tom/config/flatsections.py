"""The keys at the top of the file that have a variable of the same name, and the sections beside them."""

from typing import Literal

from pydantic import Field

from tom.config.entries import Section
from tom.config.values import Number, SecretText, Url, Whole


class ReadLimitSection(Section):
    """`rate_limits.read`."""

    rps: Number = Field(default=20, gt=0, le=1_000_000, description="readings a second of one caller, on average")
    burst: Whole = Field(default=60, ge=1, le=1_000_000, description="and at once")


class RateLimitsSection(Section):
    """`rate_limits`."""

    read: ReadLimitSection = Field(default_factory=ReadLimitSection, description="")


class RedisSection(Section):
    """`redis`."""

    memory_ttl_hours: Number = Field(
        default=168, gt=0, le=87_600, description="hours after which Redis forgets a session nobody uses"
    )


class HistorySection(Section):
    """`history`: the archive, and what else is kept how long."""

    full: bool = Field(default=False, description="the archive gets instructions and tool calls too")
    retention: Literal["keep", "mirror"] = Field(
        default="keep", description="`mirror`: what retention erases here is erased in the archive too"
    )
    outbox_max_mb: Whole = Field(
        default=256, ge=1, le=1_000_000, description="MiB that may wait for the archive before texts are left out of it"
    )
    api_retention_hours: Number = Field(
        default=24, gt=0, le=87_600, description="hours that calls of `/v1` without a conversation are kept"
    )


class MetricsSection(Section):
    """`metrics`."""

    public: bool = Field(default=False, description="`GET /metrics` asks nobody for the admin token")


class FlatSection(Section):
    """Keys of the file's top. `variables` says how each is read."""

    default_provider: str = Field(default="mcp-agent", description="`mcp-agent`, or a provider's name, which then wins")
    mcp_agent_llm: str | None = Field(default=None, description="provider used; wins over `llm.active`")
    mcp_agent_model: str | None = Field(default=None, description="model of the provider used, for all levels")
    mcp_agent_config: str | None = Field(default=None, description="a YAML file with `mcp.servers`")
    mcp_agent_servers: list[str] | None = Field(default=None, description="which of these; unset: all")
    mcp_agent_app_name: str = Field(
        default="chat-backend", max_length=200, description="what services are told the program is called"
    )
    mcp_agent_instruction: str = Field(default="", description="wins over `initial_system_prompt`")
    initial_system_prompt: str = Field(default="", description="instructions that each new session begins with")
    openrouter_key: SecretText | None = Field(default=None, description="key of OpenRouter")
    openrouter_base_url: Url = Field(default="https://openrouter.ai/api/v1", description="where OpenRouter answers")
    openrouter_model: str = Field(default="openrouter/auto", description="model of an OpenRouter that names none")
    provider_timeout_seconds: Number = Field(default=30, gt=0, description="seconds without a byte from a model")
    mcp_server_url: Url | None = Field(default=None, description="one HTTP service `legacy`; deprecated")
    mcp_api_key: SecretText | None = Field(default=None, description="Bearer key of `mcp_server_url`")
    admin_token: SecretText | None = Field(
        default=None, description="opens `/admin`, 16 characters or more; unset: it is closed"
    )
    rate_rps: Number = Field(default=1, gt=0, description="requests a second of one caller, on average")
    rate_burst: Whole = Field(default=5, ge=1, description="and at once")
    memory_default: Whole = Field(default=10, ge=1, description="messages of a session that its model is sent")
    memory_max: Whole = Field(default=50, ge=1, description="the most that a session may ask for")
    redis_url: SecretText | None = Field(default=None, description="keeps session memory and rate limits in Redis")
    metrics_enabled: bool = Field(default=True, description="whether `GET /metrics` is there")
    history_storage_backend: Literal["none", "mysql", "mongodb", "redis"] = Field(
        default="none", description="where conversations are mirrored to"
    )
    history_namespace: str = Field(
        default="chat_history", description="keeps several installations apart in one archive"
    )
    history_mysql_host: str = Field(default="localhost", description="where MySQL or MariaDB answers")
    history_mysql_port: Whole = Field(default=3306, ge=1, le=65_535, description="its port")
    history_mysql_user: str = Field(default="", description="its account; `{user}` stands for the person")
    history_mysql_password: SecretText | None = Field(default=None, description="of that account")
    history_mysql_database: str = Field(default="", description="the database")
    history_mysql_session_table: str = Field(default="chat_sessions", description="table of sessions")
    history_mysql_message_table: str = Field(default="chat_messages", description="table of messages")
    history_mongodb_uri: SecretText | None = Field(
        default=None, description="where MongoDB answers; `mongodb://localhost:27017`"
    )
    history_mongodb_database: str = Field(default="chat_history", description="the database")
    history_mongodb_session_collection: str = Field(default="chat_sessions", description="collection of sessions")
    history_mongodb_message_collection: str = Field(default="chat_messages", description="collection of messages")
    history_redis_url: SecretText | None = Field(default=None, description="where Redis answers; else `redis_url`")
