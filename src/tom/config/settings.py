"""The settings of a whole installation: read once, checked as a whole, then handed out in slices.

`Settings.load` is for the programs that start others (gateway, `tom up`, the CLI); an agent gets its slice from
`Settings.agent`, or makes it by `standalone` when it runs alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tom.config.agent import AgentSettings, ChatSettings, DoorSettings, LlmEntry, LogSettings, ServiceEntry
from tom.config.invalid import ConfigInvalid
from tom.config.narrowing import Limits
from tom.config.secret import Secret
from tom.errors import OperatorError

__all__ = [
    "STANDALONE_USER",
    "ConfigInvalid",
    "ListenSettings",
    "LoginSettings",
    "Settings",
    "SpawnerSettings",
    "UserEntry",
    "UserNotConfigured",
    "data_directory",
    "load_standalone",
    "standalone",
]
STANDALONE_USER = "local"


class UserNotConfigured(OperatorError):
    """The user is not configured."""

    code = "user_not_configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEntry:
    """One person. Without ``password`` and ``password_hash`` only `tom user passwd` gives them one."""

    username: str
    password: Secret | None = None
    password_hash: Secret | None = None
    role: str = "user"
    groups: tuple[str, ...] = ()
    disabled: bool = False
    personal_context: str = ""
    timezone: str = "UTC"
    language: str = "en"
    llm: str = ""
    max_level: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where the gateway listens. ``port`` None: 443, or 8443 where 443 needs privileges."""

    host: str = "0.0.0.0"
    port: int | None = None
    loopback_http: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """How long a login lasts, in days."""

    idle_days: float = 7
    max_days: float = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnerSettings:
    """How agents are kept; times in seconds."""

    kind: str = "auto"
    start_timeout: float = 30.0
    idle_stop: float = 900.0
    max_agents: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything config.yml and the environment say. ``warnings`` and ``notes`` are whole lines with their icon."""

    data_dir: Path
    path: Path
    log: LogSettings
    listen: ListenSettings
    public_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    cors_origins: tuple[str, ...]
    proxy_timeout: float
    sessions: Path | None
    login: LoginSettings
    spawner: SpawnerSettings
    users: tuple[UserEntry, ...]
    llm: str
    llms: Mapping[str, LlmEntry]
    chat: ChatSettings
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    services: Mapping[str, tuple[ServiceEntry, ...]] = field(repr=False)
    limits: Limits
    doors: DoorSettings
    template: AgentSettings = field(repr=False)

    @classmethod
    def load(
        cls,
        data_dir: Path,
        config_path: Path | None = None,
        env: Mapping[str, str] = os.environ,
        *,
        host: str = "",
    ) -> "Settings":
        """Read ``<data_dir>/config.yml`` (or ``config_path``, or ``TOM_CONFIG``) under what ``env`` says.

        ``host`` is where the gateway will listen, if that is not `global.listen.host`. ConfigInvalid with every error
        when anything is refused.
        """
        from tom.config.loading import Loading  # noqa: PLC0415 - brings pydantic, which those who hold settings do without

        return Loading(data_dir, config_path, env, host=host).run()

    def user(self, name: str) -> UserEntry | None:
        """The user of this name, whatever its case."""
        return next((user for user in self.users if user.username == name.lower()), None)

    def agent(self, user: str, agent_secret: Secret) -> AgentSettings:
        """What this user's agent is told: their services, and the keys of no LLM that they do not use."""
        entry = self.user(user)
        if entry is None:
            raise UserNotConfigured(f"User {user!r} is not configured")
        services = self.services[entry.username]
        llm = entry.llm or self.llm
        told = self.template
        used = {llm, told.llm_tts, told.llm_triage, told.llm_behavior, *told.llm_fallbacks}
        used |= {service.llm for service in services if service.enabled}
        return replace(
            self.template,
            user=entry.username,
            home=self.data_dir / "users" / entry.username,
            agent_secret=agent_secret,
            llm=llm,
            llms={name: found for name, found in self.llms.items() if name in used},
            services=services,
            role=entry.role,
            groups=entry.groups,
            limits=self.limits.of(entry.username, entry.groups),
            personal_context=entry.personal_context,
            language=entry.language,
            timezone=entry.timezone,
            max_level=entry.max_level,
        )


def standalone(env: Mapping[str, str] = os.environ, data_dir: Path | None = None, *, host: str = "") -> AgentSettings:
    """What an agent run alone is told: the user ``local``; config.yml is read when there is one.

    ``host`` is the address it will listen on, where that is not `chat.websocket.host`: it decides `doors.auth` when
    nobody has written `chat.auth`. ConfigInvalid as `Settings.load`.
    """
    return load_standalone(env, data_dir, host=host)[0]


def load_standalone(
    env: Mapping[str, str] = os.environ, data_dir: Path | None = None, *, host: str = ""
) -> tuple[AgentSettings, tuple[str, ...]]:
    """As `standalone`, with the lines for the operator."""
    from tom.config.loading import Loading  # noqa: PLC0415 - as above

    settings = Loading(data_directory(env, data_dir), None, env, alone=True, host=host).run()
    return settings.agent(STANDALONE_USER, Secret("")), (*settings.notes, *settings.warnings)


def data_directory(env: Mapping[str, str] = os.environ, given: Path | None = None) -> Path:
    """The data directory: as given, else ``TOM_DATA``, else ``/data`` where that is one, else ``./data``."""
    if given is not None:
        return given.absolute()
    if env.get("TOM_DATA", "").strip():
        return Path(env["TOM_DATA"]).absolute()
    container = Path("/data")
    return container if (container / "config.yml").exists() else Path("data").absolute()
