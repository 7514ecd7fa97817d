"""The entries of the file's lists: services, people. See `sections`, and `llmsections` for language models."""

import json
import re
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tom.config.values import Language, Number, SecretText, ServiceName, ToolClass, Username, Whole, Zone

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_HEADERS = frozenset(
    [
        "host",
        "content-length",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)


BUILTINS = frozenset({"behavior"})
_BUILTINS_ELSEWHERE = frozenset({"memory", "notifications", "catalogue", "tomo"})


class Section(BaseModel):
    """A mapping of the file. A key without a value is as if it were not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, value: Any) -> Any:
        if value is None:
            return {}
        if isinstance(value, dict):
            return {key: item for key, item in cast("dict[Any, Any]", value).items() if item is not None}
        return value


# --- services ----------------------------------------------------------------------------------------------------


class ServiceConfigSection(Section):
    """Second accepted place of three keys."""

    description: str | None = Field(default=None, description="as `description`")
    llm: str | None = Field(default=None, description="as `llm`")
    complexity: Any = Field(default=None, title="`0`, `1`, `2`", description="as `complexity`")


class ToolsSection(Section):
    """Which tools of a service are offered, and what they can do."""

    allow: list[str] = Field(default_factory=list, description="patterns of tool names; empty: all")
    deny: list[str] = Field(default_factory=list, description="patterns of tool names; wins over `allow`")
    classes: dict[str, ToolClass] = Field(default_factory=dict, description="tool → class")


class ServiceSection(Section):
    """One MCP service: `url`, `command` or `builtin`."""

    url: str | None = Field(default=None, description="http or https URL of a streamable HTTP service")
    builtin: str | None = Field(default=None, title="`behavior`", description="a service that comes with Tom")
    headers: dict[str, SecretText] = Field(default_factory=dict, description="sent to that origin only")
    command: str | None = Field(default=None, min_length=1, description="program of a stdio service")
    args: list[str] = Field(default_factory=list, description="its arguments")
    env: dict[str, SecretText] = Field(
        default_factory=dict, description="its environment, besides PATH, HOME, LANG, TZ, TOM_ALL_DATADIR"
    )
    cwd: str | None = Field(default=None, description="its working directory")
    enable: bool | None = Field(default=None, description="whether it is used; default true")
    enabled: bool | None = Field(default=None, description="the same")
    description: str | None = Field(default=None, description="instead of the service's own text")
    llm: str | None = Field(default=None, description="LLM for questions about it")
    complexity: Any = Field(
        default=None, title="`0`, `1`, `2`", description="level 0, 1 or 2 for questions about it; default 1"
    )
    config: ServiceConfigSection = Field(default_factory=ServiceConfigSection, description="")
    timeout: Number = Field(default=60, ge=1, le=3600, description="seconds for one call")
    trust: Literal["trusted", "untrusted"] | None = Field(
        default=None,
        description="`trusted`: what it returns are the admin's or the person's own words; `untrusted`: not even its "
        "consigns are heard; unset: consigns are heard, results are not trusted",
    )
    consigns: bool | None = Field(
        default=None, description="whether its consigns are heard; unset: unless it is `untrusted`"
    )
    tools: ToolsSection = Field(default_factory=ToolsSection, description="")

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, Any]) -> dict[str, Any]:
        return check_headers(headers)

    @field_validator("builtin")
    @classmethod
    def _builtin(cls, name: str | None) -> str | None:
        if name is not None and name not in BUILTINS:
            there = ", ".join(sorted(BUILTINS))
            if name in _BUILTINS_ELSEWHERE:
                raise ValueError(f"{name!r} does not come with this version of Tom, which has: {there}")
            raise ValueError(f"must be one of: {there}")
        return name

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if self.enable is not None and self.enabled is not None and self.enable != self.enabled:
            raise ValueError("'enable' and 'enabled' have different values")
        if self.url and self.command:
            raise ValueError("has both 'url' and 'command'")
        if self.builtin and (self.url or self.command):
            raise ValueError(f"has both 'builtin' and '{'url' if self.url else 'command'}'")
        return self


class SharedServiceSection(ServiceSection):
    """One entry of the top-level `services`."""

    users: list[Username] = Field(default_factory=list, description="only for these users; empty: for all")


Transport = Literal["stdio", "http", "streamable-http", "streamable_http", "sse"]
_READ_PAST = "read past: `policy` decides"


class McpServerSection(Section):
    """One entry of `mcpServers`."""

    enabled: bool | None = Field(default=None, description="whether it is used; default true")
    disabled: bool | None = Field(default=None, description="the opposite of `enabled`")
    type: Transport | None = Field(default=None, description="need not be said")
    transport: Transport | None = Field(default=None, description="the same")
    timeout: Number | None = Field(default=None, ge=1, le=3600, description="seconds for one call; 60")
    description: str | None = Field(default=None, description="instead of the service's own text")
    command: str | None = Field(default=None, min_length=1, description="program of a stdio service")
    args: list[str] = Field(default_factory=list, description="its arguments")
    env: dict[str, SecretText] = Field(default_factory=dict, description="its environment")
    cwd: str | None = Field(default=None, description="its working directory")
    url: str | None = Field(default=None, description="http or https URL of a streamable HTTP service")
    headers: dict[str, SecretText] = Field(default_factory=dict, description="sent to that origin only")
    auto_approve: Any = Field(default=None, alias="autoApprove", title="anything", description=_READ_PAST)
    always_allow: Any = Field(default=None, alias="alwaysAllow", title="anything", description=_READ_PAST)
    disabled_tools: Any = Field(default=None, alias="disabledTools", title="anything", description=_READ_PAST)
    icon: Any = Field(default=None, title="anything", description=_READ_PAST)

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, Any]) -> dict[str, Any]:
        return check_headers(headers)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.url) == bool(self.command):
            raise ValueError("needs either 'command' or 'url'" + (", not both" if self.url else ""))
        if self.type and self.transport and _one_spelling(self.type) != _one_spelling(self.transport):
            raise ValueError("'type' and 'transport' have different values")
        spoken = self.type or self.transport
        if spoken and (spoken == "stdio") != bool(self.command):
            raise ValueError(f"has '{'command' if self.command else 'url'}', which {spoken!r} does not go with")
        if self.enabled is not None and self.enabled == self.disabled:
            raise ValueError("'enabled' and 'disabled' contradict each other")
        return self

    @property
    def is_used(self) -> bool:
        """Whether it is; so it is when nobody says."""
        return self.enabled if self.enabled is not None else not self.disabled


# --- people ------------------------------------------------------------------------------------------------------


class UserSection(Section):
    """One entry of `users`."""

    username: Username = Field(description="their name")
    password: SecretText | None = Field(default=None, description="hashed on first sight; better: `password_hash`")
    password_hash: SecretText | None = Field(default=None, description="an argon2id string, instead of `password`")
    role: Literal["user", "admin"] = Field(
        default="user", description="admins look after Tom; the first user of `tom up` is one"
    )
    groups: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="names that rules of `policy` and `limits` may speak of"
    )
    disabled: bool = Field(default=False, description="no login, no agent")
    personal_context: Any = Field(
        default=None,
        title="text or mapping",
        description="text or mapping about them, told to their model; at most 8 KiB",
    )
    timezone: Zone | None = Field(default=None, description="theirs; else `global.timezone`")
    language: Language | None = Field(default=None, description="theirs; else `global.language`")
    llm: str | None = Field(default=None, min_length=1, description="theirs; else `global.llm`")
    max_level: Whole = Field(default=2, ge=0, le=2, description="the highest level that answers them")
    services: dict[ServiceName, ServiceSection] = Field(
        default_factory=dict, description="their own; wins over one of the same name for all"
    )

    @field_validator("personal_context")
    @classmethod
    def _context(cls, value: Any) -> str:
        if not isinstance(value, str | dict):
            raise ValueError("must be text or a mapping")  # noqa: TRY004 - pydantic collects ValueError
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text.encode(errors="replace")) > 8192:
            raise ValueError("must be at most 8 KiB")
        return text


def _one_spelling(transport: str) -> str:
    return "http" if transport.startswith("streamable") else transport


def check_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """The same headers; ValueError when one may not be set or would split the request."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError("has a name that no header can have")
        if name.lower() in _FORBIDDEN_HEADERS:
            raise ValueError(f"must not set {name!r}")
        if any(char in value.reveal() for char in "\r\n\0"):
            raise ValueError(f"the value of {name!r} contains a line break")
    return headers
