"""Where MCP servers stand besides `services`, and how they are kept connected."""

from pydantic import Field

from tom.config.entries import McpServerSection, Section
from tom.config.values import Level, Number, ServiceName, Whole

SERVERS_FILE = "servers_config.json"


class McpConnectionSection(Section):
    """`mcp.connection`."""

    max_reconnect_attempts: Whole | None = Field(
        default=None, ge=0, le=1000, description="tries in a row, 5; then one every 5 minutes"
    )
    initial_reconnect_delay: Number | None = Field(
        default=None, gt=0, le=3600, description="seconds before the second try, 1; doubled each time"
    )
    max_reconnect_delay: Number | None = Field(default=None, gt=0, le=3600, description="but never more than this, 30")
    connection_timeout: Number | None = Field(
        default=None, gt=0, le=600, description="seconds in which a server has to be reached, 30"
    )
    ping_timeout: Number | None = Field(default=None, gt=0, le=600, description="read past: servers are not pinged")


class ServerExecutionSection(Section):
    """`mcp.server_execution`."""

    require_enabled_flag: bool = Field(default=False, description="every server must say `enabled`")


class McpSection(Section):
    """`mcp`."""

    config_file: str | None = Field(
        default=None,
        min_length=1,
        description=f"file with `mcpServers` and `settings`, beside config.yml; `{SERVERS_FILE}`, if there is one",
    )
    servers: dict[ServiceName, McpServerSection] = Field(default_factory=dict, description="as `mcpServers`")
    connection: McpConnectionSection = Field(default_factory=McpConnectionSection, description="")
    server_execution: ServerExecutionSection = Field(default_factory=ServerExecutionSection, description="")


class McpSettingsSection(Section):
    """`settings` beside `mcpServers`."""

    default_timeout: Number | None = Field(
        default=None, ge=1, le=3600, alias="defaultTimeout", description="seconds for one call of a server of this file"
    )
    max_retries: Whole | None = Field(
        default=None, ge=0, le=1000, alias="maxRetries", description="as `mcp.connection.max_reconnect_attempts`"
    )
    retry_delay: Number | None = Field(
        default=None, gt=0, le=3600, alias="retryDelay", description="as `mcp.connection.initial_reconnect_delay`"
    )
    log_level: Level | None = Field(default=None, alias="logLevel", description="read past: see `logging.level`")
    auto_reconnect: bool = Field(
        default=True, alias="autoReconnect", description="`false`: a lost server is only tried every 5 minutes"
    )
