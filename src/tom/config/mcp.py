"""The services of the file as resolved entries: those for all, those of one user, and the JSON form `mcpServers`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tom.config.agent import ServiceEntry
from tom.config.entries import McpServerSection, ServiceSection
from tom.config.expand import Lookup
from tom.config.schema import Path, told
from tom.config.secret import Secret
from tom.config.sections import Root
from tom.config.values import web_url

_OF_THE_TRANSPORT = frozenset(("content-type", "accept"))


@dataclass(slots=True)
class Services:
    """``shared`` are for all users, or for those named with them; ``own`` belong to one user each."""

    shared: list[tuple[ServiceEntry, frozenset[str]]] = field(default_factory=list[tuple[ServiceEntry, frozenset[str]]])
    own: dict[str, list[ServiceEntry]] = field(default_factory=dict[str, list[ServiceEntry]])
    warnings: list[str] = field(default_factory=list[str])
    errors: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])

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
    root: Root, lookup: Lookup, variables: Mapping[str, str], usable: Callable[[str], bool]
) -> Services:
    """Resolve all services; ``usable`` tells whether an LLM of that name is there."""
    return _Resolution(root, lookup, variables, usable).run()


class _Resolution:
    def __init__(self, root: Root, lookup: Lookup, variables: Mapping[str, str], usable: Callable[[str], bool]) -> None:
        self._root = root
        self._lookup = lookup
        self._variables = variables
        self._usable = usable
        self._found = Services()

    def run(self) -> Services:
        """Every source in turn."""
        root, found = self._root, self._found
        people = {user.username for user in root.users}
        for name, section in root.services.items():
            path: Path = ("services", name)
            found.shared.append((self._service(path, name, section), frozenset(section.users)))
            found.warnings += [
                f"⚠️ services.{name}.users: there is no user {user!r}" for user in section.users if user not in people
            ]
        for name, section in root.mcp_servers.items():
            path = ("mcpServers", name)
            if name in root.services:
                found.errors.append((path, f"services.{name} has the same name"))
            found.shared.append((self._server(path, name, section), frozenset()))
        for place, user in enumerate(root.users):
            found.own[user.username] = [
                self._service(("users", place, "services", name), name, section)
                for name, section in user.services.items()
            ]
        self._add_legacy()
        return found

    def _service(self, path: Path, name: str, section: ServiceSection) -> ServiceEntry:
        enabled = next((flag for flag in (section.enable, section.enabled) if flag is not None), True)
        if not section.url and not section.command and not section.builtin:
            if enabled:
                self._found.warnings.append(f"⚠️ Service {name!r} has no url")
            enabled = False
        return ServiceEntry(
            name=name,
            **self._way(path, section, enabled=enabled),
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

    def _server(self, path: Path, name: str, section: McpServerSection) -> ServiceEntry:
        return ServiceEntry(name=name, **self._way(path, section, enabled=section.enabled), enabled=section.enabled)

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
            self._found.errors.append(((*path, "url"), str(error)))
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
        if "legacy" in {**root.services, **root.mcp_servers}:
            found.errors.append((("services", "legacy"), "MCP_SERVER_URL makes a service of the same name"))
        key = self._variables.get("MCP_API_KEY", "")
        headers = {"Authorization": Secret(f"Bearer {key}")} if key else {}
        found.shared.append((ServiceEntry(name="legacy", url=root.mcp_server_url, headers=headers), frozenset()))

    def _text(self, path: Path, text: str) -> str:
        try:
            return self._lookup.text(text)
        except ValueError as error:
            self._found.errors.append((path, str(error)))
            return text

    def _secret(self, path: Path, given: Secret) -> Secret:
        try:
            value = self._lookup.secret(given)
        except ValueError as error:
            self._found.errors.append((path, str(error)))
            return given
        if any(char in value.reveal() for char in "\r\n\0") and path[-2] == "headers":
            self._found.errors.append((path, "must not contain a line break"))
        return value
