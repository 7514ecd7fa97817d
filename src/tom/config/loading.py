"""One reading of the configuration: file, environment, checks, resolution. `Settings.load` is the door to it."""

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from tom.clock import SystemClock, timestamp
from tom.config import schema
from tom.config.agent import (
    AgentSettings,
    ChatSettings,
    LogSettings,
    PersistenceSettings,
    ToolNotices,
    TriageSettings,
)
from tom.config.doors import DoorResolution
from tom.config.environment import Environment
from tom.config.expand import Lookup
from tom.config.faults import Faults
from tom.config.invalid import ConfigInvalid
from tom.config.llms import Llms, resolve_llms
from tom.config.mcp import Services, resolve_services
from tom.config.mcpfiles import read_server_files
from tom.config.people import resolve_users
from tom.config.resolving import cap_replies, resolve_limits, resolve_persistence
from tom.config.rules import resolve_policy
from tom.config.sections import Root
from tom.config.settings import STANDALONE_USER, ListenSettings, LoginSettings, Settings, SpawnerSettings, UserEntry
from tom.config.values import file_name, time_zone
from tom.config.written import read_written


class Loading:
    """One reading of the configuration: file, environment, checks, resolution; errors are collected on the way."""

    def __init__(
        self, data_dir: Path, config_path: Path | None, env: Mapping[str, str], *, alone: bool = False, host: str = ""
    ) -> None:
        """``host`` is the address listened on where it is not the file's; ``alone``: there is no gateway."""
        self._data = data_dir.absolute()
        self.env = Environment(env, Path.cwd(), self._data)
        self._path = (
            config_path or Path(self.env.values.get("TOM_CONFIG", "") or self._data / "config.yml")
        ).absolute()
        self._alone = alone
        self._host = host
        self.faults = Faults(self._path, self.env)
        self.root: Root | None = None
        """What the file says under what the variables say, once it has been read."""

    def run(self) -> Settings:
        """The settings, or ConfigInvalid."""
        faults = self.faults
        faults.written = read_written(self._path, self.env, self._data, required=not self._alone)
        tree = deepcopy(faults.written.tree)
        faults.origins, errors = self.env.apply(tree)
        faults.errors += [*self.env.errors, *faults.written.errors, *errors]
        root, wrong = schema.check(tree)
        for path, sentence in wrong:
            faults.refuse(path, sentence)
        # What can be looked up is looked up all the same, so that all errors are shown at once.
        root = root or schema.remains(tree, wrong)
        if root is None:
            raise ConfigInvalid(faults.errors)
        self.root = root
        settings = self._resolve(root)
        if faults.errors:
            raise ConfigInvalid(list(dict.fromkeys(faults.errors)))
        return settings

    # --- resolution --------------------------------------------------------------------------------------------

    def _resolve(self, root: Root) -> Settings:
        chat = self.faults.written.chat
        lookup = Lookup(self.env.values, self._path.parent, *((chat.path.parent,) if chat else ()))
        root = self._with_active(root)
        llms = resolve_llms(root, lookup, self._with_key(root))
        for place, error in llms.errors:
            self.faults.plain(place, error)
        services = self._services(root, lookup, llms)
        zone = self._zone(root)
        users = self._users(root, lookup, llms, zone)
        if root.global_.debug_llm:
            self.faults.warnings.append(
                "⚠️ TOM_DEBUG_LLM: what models are asked and answer is written to users/<user>/debug/ for 7 days"
            )
        limits = resolve_limits(root.limits, users, self.faults)
        log = self._log(root, zone)
        policy = resolve_policy(
            root.policy, users, services.names, zone, self.faults, now=timestamp(SystemClock().now())
        )
        resolution = DoorResolution(root, self.faults, host=self._listens_on(root), alone=self._alone)
        doors, archive = resolution.doors(), resolution.archive()
        return Settings(
            data_dir=self._data,
            path=self._path,
            log=log,
            listen=_listen(root),
            public_hosts=tuple(root.global_.public_hosts),
            trusted_proxies=tuple(root.global_.trusted_proxies),
            cors_origins=tuple(root.global_.cors_origins),
            proxy_timeout=root.global_.proxy_timeout,
            sessions=self._sessions(root),
            login=LoginSettings(idle_days=root.login.idle_days, max_days=root.login.max_days),
            spawner=SpawnerSettings(**root.spawner.model_dump()),
            users=tuple(users.values()),
            llm=llms.default,
            llms=cap_replies(llms.entries, root.chat.service.context.response_tokens.max),
            chat=_chat(root),
            warnings=(*self.faults.warnings, *llms.warnings, *services.warnings),
            notes=tuple(llms.notes),
            services={name: services.of(name) for name in users},
            limits=limits,
            doors=doors,
            template=replace(self._agent_template(root, llms, zone, log), policy=policy, doors=doors, archive=archive),
        )

    def _services(self, root: Root, lookup: Lookup, llms: Llms) -> Services:
        """The services of all places; what is wrong with them is refused."""
        files = read_server_files(root, self.faults, self._path.parent)
        key = self.faults.secret(("mcp_api_key",), root.mcp_api_key)
        found = resolve_services(root, lookup, key, llms.usable, files.places)
        self.faults.errors += [*files.errors, *found.elsewhere]
        for path, sentence in found.errors:
            self.faults.refuse(path, sentence)
        found.warnings[:0] = files.warnings
        return found

    def _with_key(self, root: Root) -> Mapping[str, str]:
        """The variables, with the one key of a provider that a file may hold."""
        key = self.faults.secret(("openrouter_key",), root.openrouter_key).reveal().strip()
        return {**self.env.values, "OPENROUTER_KEY": key} if key else self.env.values

    def _with_active(self, root: Root) -> Root:
        """``global.llm`` and ``llm.active`` are one setting, and so are the lists of those that stand in."""
        other, here = root.llm, root.global_
        active = self.faults.either(("llm", "active"), other.active, ("global", "llm"), here.llm)
        fallbacks = self.faults.either(
            ("llm", "fallback"), other.fallback, ("global", "llm_fallbacks"), here.llm_fallbacks
        )
        here = here.model_copy(update={"llm_fallbacks": fallbacks})
        if active != other.active:
            other = other.model_copy(update={"active": None})
        return root.model_copy(update={"llm": other, "global_": here})

    def _listens_on(self, root: Root) -> str:
        return self._host or (root.chat.websocket.host if self._alone else root.global_.listen.host)

    def _users(self, root: Root, lookup: Lookup, llms: Llms, zone: str) -> dict[str, UserEntry]:
        people = resolve_users(root, lookup, llms, zone, self.faults)
        if self._alone:
            alone = UserEntry(username=STANDALONE_USER, timezone=zone, language=root.global_.language)
            people.setdefault(STANDALONE_USER, alone)
        elif not people:
            self.faults.warnings.append("⚠️ No users are configured: nobody can log in")
        return people

    def _zone(self, root: Root) -> str:
        if root.global_.timezone:
            return root.global_.timezone
        try:
            return time_zone(self.env.values.get("TZ", "UTC").removeprefix(":"))
        except ValueError:
            self.faults.warnings.append("⚠️ TZ is not the name of a time zone: UTC is used")
            return "UTC"

    def _log(self, root: Root, zone: str) -> LogSettings:
        written, other = root.global_, root.logging
        given = written.model_fields_set
        level = self.faults.either(
            ("logging", "level"),
            other.level,
            ("global", "log_level"),
            written.log_level if "log_level" in given else None,
        )
        form = self.faults.either(
            ("logging", "format"),
            {"console": "text", "json": "json", None: None}[other.format],
            ("global", "log_format"),
            written.log_format if "log_format" in given else None,
        )
        file = written.log_file
        return LogSettings(
            level=level or "INFO",
            format=form or ("json" if self._alone else "text"),
            timestamps=written.log_timestamps,
            timezone=zone,
            file=str(self._data / file.path) if file else "",
            max_mb=file.max_mb if file else 20,
            keep=file.keep if file else 5,
        )

    def _sessions(self, root: Root) -> Path | None:
        if root.global_.sessions is None:
            return None
        path = self._data / root.global_.sessions
        where: schema.Path = ("global", "sessions")
        if path.is_symlink():
            self.faults.refuse(where, "must not be a symbolic link")
        elif path.exists():
            status = path.stat()
            if not path.is_dir():
                self.faults.refuse(where, "must be a directory")
            elif status.st_uid != os.geteuid():
                self.faults.refuse(where, "must belong to the user that runs Tom")
            elif status.st_mode & 0o077:
                self.faults.refuse(where, "must have mode 0700")
        return path

    def _agent_template(self, root: Root, llms: Llms, zone: str, log: LogSettings) -> AgentSettings:
        """What is the same for all agents. Their log goes to stderr only: one process writes a file."""
        return AgentSettings(
            user="",
            home=self._data / "users",
            llm=llms.default,
            llm_fallbacks=llms.fallbacks,
            llm_tts=llms.tts,
            llm_triage=llms.triage,
            llm_behavior=llms.behavior,
            client_models=root.llm.client_models,
            listed_models=tuple(root.llm.listed_models),
            default_level=root.global_.default_level,
            memory_min_score=root.memory.min_score,
            triage=TriageSettings(skip_below=root.triage.skip_below, timeout=root.triage.timeout),
            chat=_chat(root),
            persistence=self._persistence(root),
            persona_name=root.global_.persona.name,
            persona_instructions=root.global_.persona.instructions,
            language=root.global_.language,
            timezone=zone,
            log=log if self._alone else replace(log, file=""),
            all_datadir=self._all_datadir(root),
            app_name=root.mcp_agent_app_name,
            debug_llm=root.global_.debug_llm,
        )

    def _persistence(self, root: Root) -> PersistenceSettings:
        section = root.repository
        path = section.path or "history.db"
        if self._alone and section.path:
            # Where the chat file is, there `sqlite3 events.db` is typed too.
            typed_here = (
                self.faults.written.chat is not None
                and self.faults.directory(("repository", "path")) != self._path.parent
            )
            path = str((Path.cwd() if typed_here else self._data) / section.path)
        else:
            try:
                file_name(path)
            except ValueError as error:
                self.faults.refuse(("repository", "path"), str(error))
        return resolve_persistence(section, path)

    def _all_datadir(self, root: Root) -> str:
        path = self._data / (root.global_.all_datadir or "all")
        if path.resolve().is_relative_to((self._data / "users").resolve()):
            self.faults.refuse(("global", "all_datadir"), "must not be inside users/")
        return str(path) if path.is_dir() else ""


def _listen(root: Root) -> ListenSettings:
    section = root.global_.listen
    address, _, port = (section.loopback_http or "").rpartition(":")
    loopback = (address.strip("[]"), int(port)) if port else None
    return ListenSettings(host=section.host, port=section.port, loopback_http=loopback)


def _chat(root: Root) -> ChatSettings:
    service, socket = root.chat.service, root.chat.websocket
    return ChatSettings(
        max_tool_hops=service.max_tool_hops,
        max_parallel_runs=service.max_parallel_runs,
        run_deadline_seconds=service.run_deadline_seconds,
        streaming=service.streaming.enabled,
        show_thinking=service.show_thinking,
        titles=service.titles,
        tool_notifications=ToolNotices(**service.tool_notifications.model_dump()),
        context_max_tokens=service.context.max_tokens,
        context_reserve_tokens=service.context.reserve_tokens,
        preserve_recent=service.context.preserve_recent,
        compaction=service.context.compaction,
        approval_hours=root.chat.approvals.expire_hours,
        host=socket.host,
        port=socket.port,
        endpoint=socket.endpoint,
        max_message_size=socket.max_message_size,
        ping_interval=socket.ping_interval,
        ping_timeout=socket.ping_timeout,
        max_connections=socket.concurrency.max_connections,
        max_connections_per_user=socket.max_connections_per_user,
        send_buffer=socket.send_buffer,
        actions_per_second=socket.actions_per_second,
        allow_origins=tuple(socket.allow_origins),
    )
