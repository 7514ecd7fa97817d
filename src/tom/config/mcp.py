"""The services of the file as resolved entries: those for all, those of one user, and the JSON form `mcpServers`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tom.config.agent import Reconnect, ServiceEntry
from tom.config.entries import McpServerSection, ServiceSection
from tom.config.expand import Lookup
from tom.config.invalid import problem
from tom.config.mcpfiles import Servers, of_config
from tom.config.mcpsections import McpConnectionSection
from tom.config.schema import Path, dotted, told
from tom.config.secret import Secret
from tom.config.sections import Root
from tom.config.values import web_url

_READ_PAST = {
    "auto_approve": "autoApprove",
    "always_allow": "alwaysAllow",
    "disabled_tools": "disabledTools",
    "icon": "icon",
}
_PACE = {
    "attempts": "max_reconnect_attempts",
    "first_delay": "initial_reconnect_delay",
    "longest_delay": "max_reconnect_delay",
}
_OF_THE_TRANSPORT = frozenset(("content-type", "accept"))


@dataclass(slots=True)
class Services:
    """``shared`` are for all users, or for those named with them; ``own`` belong to one user each."""

    shared: list[tuple[ServiceEntry, frozenset[str]]] = field(default_factory=list[tuple[ServiceEntry, frozenset[str]]])
    own: dict[str, list[ServiceEntry]] = field(default_factory=dict[str, list[ServiceEntry]])
    warnings: list[str] = field(default_factory=list[str])
    errors: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    elsewhere: list[str] = field(default_factory=list[str])
    """What is wrong in other files than config.yml, as whole lines."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all services, whosever they are."""
        return frozenset(
            (*(entry.name for entry, _ in self.shared), *(e.name for own in self.own.values() for e in own))
        )

    def of(self, user: str) -> tuple[ServiceEntry, ...]:
        """The services of a user, by name; their own wins over a shared one of the same name."""
        found = {entry.name: entry for entry, users in self.shared if not users or user in users}
        found.update({entry.name: entry for entry in self.own.get(user, ())})
        return tuple(found[name] for name in sorted(found))


def resolve_services(
    root: Root,
    lookup: Lookup,
    legacy_key: Secret,
    usable: Callable[[str], bool],
    others: Sequence[Servers] = (),
) -> Services:
    """Resolve all services; ``legacy_key`` is that of `MCP_SERVER_URL`, ``usable`` tells whether an LLM of that name is there, ``others`` stand in other files."""
    return _Resolution(root, lookup, legacy_key, usable, others).run()


class _Resolution:
    def __init__(
        self,
        root: Root,
        lookup: Lookup,
        legacy_key: Secret,
        usable: Callable[[str], bool],
        others: Sequence[Servers],
    ) -> None:
        self._root = root
        self._places = (*of_config(root), *others)
        self._file = ""
        self._named: dict[str, str] = {}
        self._connection = root.mcp.connection
        self._lookup = lookup
        self._legacy_key = legacy_key
        self._usable = usable
        self._found = Services()

    def run(self) -> Services:
        """Every source in turn."""
        root, found = self._root, self._found
        people = {user.username for user in root.users}
        for name, section in root.services.items():
            path: Path = ("services", name)
            self._name(path, name)
            found.shared.append((self._service(path, name, section), frozenset(section.users)))
            found.warnings += [
                f"⚠️ services.{name}.users: there is no user {user!r}" for user in section.users if user not in people
            ]
        for place in self._places:
            self._add(place)
        self._file, self._connection = "", root.mcp.connection
        for place, user in enumerate(root.users):
            found.own[user.username] = [
                self._service(("users", place, "services", name), name, section)
                for name, section in user.services.items()
            ]
        self._add_legacy()
        return found

    def _add(self, place: Servers) -> None:
        """The servers of one place."""
        self._file, self._connection = place.file, place.connection
        if place.servers:
            self._warn_of_what_does_nothing(place)
        for name, section in place.servers.items():
            path: Path = (*place.path, name)
            self._name(path, name)
            if place.must_say_enabled and section.enabled is None and section.disabled is None:
                self._refuse((*path, "enabled"), "is required by mcp.server_execution.require_enabled_flag")
            self._found.shared.append((self._server(path, name, section, place), frozenset()))

    def _name(self, path: Path, name: str) -> None:
        """Refuse a name that another place has."""
        if name in self._named:
            self._refuse(path, f"{self._named[name]} has the same name")
        self._named.setdefault(name, f"{self._file}: {dotted(path)}" if self._file else dotted(path))

    def _refuse(self, path: Path, sentence: str) -> None:
        if self._file:
            self._found.elsewhere.append(problem(self._file, told(path, sentence)))
        else:
            self._found.errors.append((path, sentence))

    def _warn_of_what_does_nothing(self, place: Servers) -> None:
        if place.settings.log_level is not None:
            self._found.warnings.append("⚠️ settings.logLevel is read past: see logging.level")
        if place.connection.ping_timeout is not None:
            self._found.warnings.append("⚠️ mcp.connection.ping_timeout is read past: MCP servers are not pinged")

    def _service(self, path: Path, name: str, section: ServiceSection) -> ServiceEntry:
        enabled = next((flag for flag in (section.enable, section.enabled) if flag is not None), True)
        if not section.url and not section.command and not section.builtin:
            if enabled:
                self._found.warnings.append(f"⚠️ Service {name!r} has no url")
            enabled = False
        return ServiceEntry(
            name=name,
            **self._way(path, section, enabled=enabled),
            **_pace(self._connection),
            enabled=enabled,
            description=self._either(path, section, "description") or "",
            llm=self._llm(path, name, section),
            complexity=self._complexity(path, section),
            timeout=section.timeout,
            trust=section.trust or "",
            consigns=section.consigns,
            classes=section.tools.classes,
            allow=tuple(section.tools.allow),
            deny=tuple(section.tools.deny),
        )

    def _server(self, path: Path, name: str, section: McpServerSection, place: Servers) -> ServiceEntry:
        self._warn_of_server(path, section)
        settings, enabled = place.settings, section.is_used
        connection = place.connection.model_copy(
            update={
                key: value
                for key, value in (
                    ("max_reconnect_attempts", settings.max_retries if settings.auto_reconnect else 0),
                    ("initial_reconnect_delay", settings.retry_delay),
                )
                if value is not None
            }
        )
        return ServiceEntry(
            name=name,
            **self._way(path, section, enabled=enabled),
            **_pace(connection),
            enabled=enabled,
            description=section.description or "",
            timeout=section.timeout or settings.default_timeout or 60.0,
        )

    def _warn_of_server(self, path: Path, section: McpServerSection) -> None:
        given = section.model_fields_set
        past = [key for field, key in _READ_PAST.items() if field in given]
        where = f"{self._file}: {dotted(path)}" if self._file else dotted(path)
        if past:
            self._found.warnings.append(f"⚠️ {where}: {', '.join(past)} read past: policy decides what may be called")
        if "sse" in {section.type, section.transport}:
            self._found.warnings.append(f"⚠️ {where}: sse is no longer a transport: streamable HTTP is spoken")

    def _way(self, path: Path, section: ServiceSection | McpServerSection, *, enabled: bool) -> dict[str, Any]:
        """How the service is reached. Nothing is looked up for one that is not used."""
        if not enabled:
            return {}
        if isinstance(section, ServiceSection) and section.builtin:
            return {"builtin": section.builtin}
        if section.command:
            return {
                "command": self._text((*path, "command"), section.command),
                "args": tuple(self._text((*path, "args", at), text) for at, text in enumerate(section.args)),
                "env": {name: self._secret((*path, "env", name), value) for name, value in section.env.items()},
                "cwd": self._text((*path, "cwd"), section.cwd or ""),
            }
        url = self._text((*path, "url"), section.url or "")
        try:
            web_url(url)
        except ValueError as error:
            self._refuse((*path, "url"), str(error))
        headers = {
            name: self._secret((*path, "headers", name), value)
            for name, value in section.headers.items()
            if name.lower() not in _OF_THE_TRANSPORT
        }
        return {"url": url, "headers": headers}

    def _either(self, path: Path, section: ServiceSection, key: str) -> Any:
        direct, second = getattr(section, key), getattr(section.config, key)
        if direct is not None and second is not None and direct != second:
            self._found.warnings.append(f"⚠️ {told((*path, 'config', key), f'ignored, {key!r} of the service wins')}")
        return second if direct is None else direct

    def _llm(self, path: Path, name: str, section: ServiceSection) -> str:
        wanted = self._either(path, section, "llm") or ""
        if wanted and not self._usable(wanted):
            self._found.warnings.append(f"⚠️ Service {name!r}: LLM {wanted!r} is not usable, using the default")
            return ""
        return wanted

    def _complexity(self, path: Path, section: ServiceSection) -> int:
        level = self._either(path, section, "complexity")
        if level is None:
            return 1
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 2:
            self._found.warnings.append(f"⚠️ {told((*path, 'complexity'), 'must be 0, 1 or 2; using 1')}")
            return 1
        return level

    def _add_legacy(self) -> None:
        root, found = self._root, self._found
        if not root.mcp_server_url:
            return
        found.warnings.append("⚠️ MCP_SERVER_URL is deprecated: write services.legacy.url into config.yml")
        if "legacy" in self._named:
            found.errors.append((("services", "legacy"), "MCP_SERVER_URL makes a service of the same name"))
        key = self._legacy_key
        headers = {"Authorization": Secret(f"Bearer {key.reveal()}")} if key else {}
        found.shared.append((ServiceEntry(name="legacy", url=root.mcp_server_url, headers=headers), frozenset()))

    def _text(self, path: Path, text: str) -> str:
        try:
            return self._lookup.text(text)
        except ValueError as error:
            self._refuse(path, str(error))
            return text

    def _secret(self, path: Path, given: Secret) -> Secret:
        try:
            value = self._lookup.secret(given)
        except ValueError as error:
            self._refuse(path, str(error))
            return given
        if any(char in value.reveal() for char in "\r\n\0") and path[-2] == "headers":
            self._refuse(path, "must not contain a line break")
        return value


def _pace(connection: McpConnectionSection) -> dict[str, Any]:
    """What the section says of reaching services; nothing where it says nothing."""
    said = connection.model_dump(exclude_none=True)
    given = {name: said[key] for name, key in _PACE.items() if key in said}
    reached = connection.connection_timeout
    return ({"reconnect": Reconnect(**given)} if given else {}) | ({"connect_timeout": reached} if reached else {})
