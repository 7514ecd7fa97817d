"""``tom agent``: one person's agent, started by hand, behind a gateway elsewhere or alone."""

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from tom.cli import ports
from tom.cli.directory import existing, locate, make_private
from tom.cli.output import Refused, notice
from tom.config.agent import AgentSettings
from tom.config.secret import Secret
from tom.errors import StoreInUse

PORT = 8080
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WHOM = {
    "local": "whoever sits at this machine",
    "token": "whoever shows a token",
    "public": "everybody",
}


def make_parser() -> argparse.ArgumentParser:
    """The options of ``tom agent``."""
    parser = argparse.ArgumentParser(
        prog="tom agent",
        description="Serve one person's agent. Behind a gateway it answers to the agent's own secret only; "
        "with --standalone it is a chat service of its own: for whoever sits at this machine, or, on an address that "
        "others reach too, for whoever shows a token (chat.auth).",
    )
    parser.add_argument("--user", metavar="NAME", help="the user (default: TOM_USERNAME)")
    parser.add_argument("--standalone", action="store_true", help="alone, without gateway, users and logins")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"TCP port (default: {PORT}; alone: chat.websocket.port, 8000)"
    )
    parser.add_argument("--socket", metavar="PATH", help="listen on this Unix socket instead of a port")
    parser.add_argument("--data", metavar="DIR", help="data directory (default: TOM_DATA, else ./data of a checkout)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return _alone(options) if options.standalone else _behind_gateway(options)
    except StoreInUse as error:
        user = "local" if options.standalone else _user_name(options)
        raise Refused(f"Another agent already serves '{user}'", hint=error.message, code=error.code) from error


def _alone(options: argparse.Namespace) -> int:
    from tom.config.settings import load_standalone
    from tom.telemetry import logs

    directory = locate(options.data)
    make_private(directory)
    settings, lines = load_standalone(os.environ, directory, host="localhost" if options.socket else options.host or "")
    host = options.host or settings.chat.host
    for line in lines:
        notice(line)
    logs.configure(settings.log, user=settings.user)
    port = options.port if options.port is not None else settings.chat.port
    listener = _listen(options.socket, "127.0.0.1" if host == "localhost" else host, port)
    _say_where(settings, listener)

    from tom.agent.bootstrap import serve_alone

    return serve_alone(settings, listener)


def _say_where(settings: AgentSettings, listener: socket.socket) -> None:
    name = listener.getsockname()
    place = f"unix:{name}" if isinstance(name, str) else f"{_shown(name[0])}:{name[1]}"
    print(f"🚀 The agent answers on ws://{place}{settings.chat.endpoint} to {_WHOM[settings.doors.auth]}.", flush=True)
    print(f"   model: {settings.llm}; history: {settings.home}; with logins and a page: tom up", flush=True)
    if settings.doors.auth != "local":
        print("   a token is made with: tom token create NAME --scope chat", flush=True)


def _shown(host: str) -> str:
    if host in LOOPBACK:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _behind_gateway(options: argparse.Namespace) -> int:
    from tom.config.document import encode_agent
    from tom.config.settings import Settings
    from tom.gateway.agentsecret import agent_secret

    user = _user_name(options)
    directory = existing(locate(options.data))
    settings = Settings.load(directory)
    if settings.user(user) is None:
        raise Refused(f"User '{user}' is not configured", hint=f"add it with: tom user add {user}", code="unknown_user")
    given = os.environ.get("TOM_AGENT_SECRET", "").strip()
    secret = Secret(given) if given else agent_secret(directory / "users" / user)
    told = settings.agent(user, secret)
    listener = _listen(options.socket, options.host or "127.0.0.1", PORT if options.port is None else options.port)
    for line in (*settings.notes, *settings.warnings):
        notice(line)

    from tom.agent.bootstrap import serve_cell

    return serve_cell(listener.detach(), _as_descriptor(encode_agent(told)), told.user)


def _user_name(options: argparse.Namespace) -> str:
    user = options.user or os.environ.get("TOM_USERNAME", "").strip()
    if not user:
        raise Refused("TOM_USERNAME is not set", hint="name the user: tom agent --user NAME", code="no_user")
    return user.lower()


def _listen(path: str | None, host: str, port: int) -> socket.socket:
    if path is None:
        return ports.listen(host, port)
    from tom.spawner.unixpath import SocketDirectory

    place = Path(path).absolute()
    try:
        directory = SocketDirectory(place.parent)
        try:
            return directory.listen(place.name)
        finally:
            directory.close()
    except OSError as error:
        raise Refused(f"The socket {place} cannot be made: {error.strerror or error}", code="no_socket") from error


def _as_descriptor(document: bytes) -> int:
    """A descriptor to read the document from: it stands in no file and no argument."""
    descriptor = os.memfd_create("settings", os.MFD_CLOEXEC)
    view = memoryview(document)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
