"""Files that list MCP servers the way other programs write them: `servers_config.json`, and that of `MCP_AGENT_CONFIG`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tom.config import schema
from tom.config.entries import McpServerSection
from tom.config.faults import Faults
from tom.config.invalid import problem
from tom.config.mcpsections import SERVERS_FILE, McpConnectionSection, McpSettingsSection
from tom.config.sections import Root
from tom.config.yamltext import YamlInvalid, read_yaml

_SHAPE: Final = 'write {"mcpServers": {"<name>": {"command": …, "args": […]}}}, or {"url": …} in place of the command'
_OF_EDITORS: Final = ("servers", "inputs")
_FILE: Final = ("mcp_agent_config",)


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of one place. ``file`` is how errors call it; empty: config.yml."""

    path: schema.Path
    servers: Mapping[str, McpServerSection]
    settings: McpSettingsSection
    connection: McpConnectionSection
    must_say_enabled: bool
    file: str = ""


@dataclass(slots=True)
class ServerFiles:
    """What the files say, and what is wrong with them as whole lines."""

    places: list[Servers] = field(default_factory=list[Servers])
    errors: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


def of_config(root: Root) -> tuple[Servers, ...]:
    """The servers that stand in config.yml itself."""
    found = ((("mcpServers",), root.mcp_servers), (("mcp", "servers"), root.mcp.servers))
    return tuple(_servers(root, path, servers) for path, servers in found)


def read_server_files(root: Root, faults: Faults, directory: Path) -> ServerFiles:
    """All files, as far as there are any; ``directory`` is that of config.yml.

    Where a chat file is in use, one beside it is looked for too.
    """
    files = ServerFiles()
    named = root.mcp.config_file
    if named:
        _read_json(files, root, faults.directory(("mcp", "config_file")) / named)
    else:
        chat = faults.written.chat
        beside = dict.fromkeys((directory, *((chat.path.parent,) if chat else ())))
        for path in (folder / SERVERS_FILE for folder in beside):
            if path.is_file():
                _read_json(files, root, path)
    _read_agent_config(files, root, faults)
    return files


def _read_json(files: ServerFiles, root: Root, path: Path) -> None:
    missing = f"❌ Configuration not found: {path}"
    own = _checked(files, path, frozenset(("mcpServers", "settings")), missing)
    if own is not None:
        files.places.append(_servers(root, ("mcpServers",), own.mcp_servers, own=own, file=path.name))


def _read_agent_config(files: ServerFiles, root: Root, faults: Faults) -> None:
    written, wanted = root.mcp_agent_config, root.mcp_agent_servers
    if not written:
        if wanted:
            files.warnings.append("⚠️ MCP_AGENT_SERVERS chooses from MCP_AGENT_CONFIG, which is not set")
        return
    path, where = faults.directory(_FILE) / written, faults.source(_FILE)
    if path.suffix not in {".yml", ".yaml"}:
        files.errors.append(problem(where, "Unsupported config format. Expected a .yml or .yaml file."))
        return
    missing = problem(where, f"Config file '{written}' was not found.")
    own = _checked(files, path, frozenset(("mcp", "settings")), missing)
    if own is None:
        return
    servers = own.mcp.servers
    if wanted is not None:
        unknown = [name for name in wanted if name not in servers]
        if unknown:
            known = f"Known: {', '.join(sorted(servers))}."
            sentence = f"MCP_AGENT_SERVERS names unknown servers: {', '.join(unknown)}. {known}"
            files.errors.append(problem(faults.source(("mcp_agent_servers",)), sentence))
        servers = {name: section for name, section in servers.items() if name in wanted}
    files.places.append(_servers(root, ("mcp", "servers"), servers, own=own, file=path.name))


def _checked(files: ServerFiles, path: Path, allowed: Iterable[str], missing: str) -> Root | None:
    """The file's content by the rules of config.yml; None when something is wrong with it."""
    try:
        tree = read_yaml(path)
    except FileNotFoundError:
        files.errors.append(missing)
        return None
    except YamlInvalid as error:
        files.errors.append(f"❌ {error}")
        return None
    foreign = [key for key in tree if key not in allowed]
    for key in foreign:
        sentence = _SHAPE if key in _OF_EDITORS else "unknown key"
        files.errors.append(problem(path.name, f"{key}: {sentence}"))
    root, faults = schema.check({key: value for key, value in tree.items() if key not in foreign})
    files.errors += [problem(path.name, schema.told(where, sentence)) for where, sentence in faults]
    return None if foreign else root


def _servers(
    root: Root, path: schema.Path, servers: Mapping[str, McpServerSection], *, own: Root | None = None, file: str = ""
) -> Servers:
    own = own or root
    given = {**root.mcp.connection.model_dump(exclude_none=True), **own.mcp.connection.model_dump(exclude_none=True)}
    must = root.mcp.server_execution.require_enabled_flag or own.mcp.server_execution.require_enabled_flag
    return Servers(path, servers, own.settings, McpConnectionSection(**given), must, file)
