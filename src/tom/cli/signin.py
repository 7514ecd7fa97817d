"""Coming in at a gateway's door: which address, which certificate, which login; and what to say when that fails."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tom.cli import client
from tom.cli.client import Door, Logins
from tom.cli.directory import locate
from tom.cli.output import Refused, Status, usage

DEFAULT_URL: Final = "https://localhost:8443"


def address(given: str | None) -> str:
    """Scheme, host and port of the gateway: as given, ``TOM_URL``, or this machine's. Raises `Refused`."""
    url = given or os.environ.get("TOM_URL", "").strip() or DEFAULT_URL
    try:
        place = urlsplit(url if "://" in url else f"https://{url}")
        known = place.scheme in {"https", "http"} and bool(place.hostname) and "@" not in place.netloc
        _ = place.port
    except ValueError:
        usage(f"'{url}' is no address of a gateway; it looks like {DEFAULT_URL}")
    if not known:
        usage(f"'{url}' is no address of a gateway; it looks like {DEFAULT_URL}")
    if place.scheme == "http" and place.hostname not in {"localhost", "127.0.0.1", "::1"}:
        usage("A password travels over https only; http is for this machine")
    return f"{place.scheme}://{place.netloc}"


def certificates(data: str | None, ca: str | None) -> tuple[Path, ...]:
    """What to trust besides the system: ``ca``, the house at ``data``, or a house of this machine when there is one."""
    if ca:
        return (Path(ca).expanduser(),)
    if data:
        return (Path(data).expanduser() / "tls" / "cert.pem",)
    found = (path / "tls" / "cert.pem" for path in (Path("data"), locate()))
    return tuple(path for path in found if path.is_file())[:1]


def enter(url: str, *, user: str | None, trusted: tuple[Path, ...], insecure: bool, password_stdin: bool) -> Door:
    """A door with a valid login, kept for the next time. Raises `client.LoginRefused`, `client.Unreachable`, `Refused`."""
    logins = Logins(_logins_file())
    door = Door(url, client.trust(url, certificates=trusted, insecure=insecure))
    kept = None if password_stdin else logins.get(url, user)
    if kept is not None:
        door.cookie = kept[1]
        try:
            door.sessions(1)
        except client.LoginNeeded:
            logins.drop(url)
            door.cookie = ""
        else:
            return door
    name = user or _name()
    door.log_in(name, _password(url, stdin=password_stdin))
    logins.put(url, name, door.cookie)
    return door


def guarded[T](url: str, work: Callable[[], T]) -> T:
    """Do ``work``; what kept it from being done becomes a `Refused` that says so in a sentence."""
    try:
        return work()
    except client.LoginRefused as error:
        raise Refused(str(error), status=Status.NOT_PERMITTED, code="invalid_credentials") from error
    except client.LoginNeeded as error:
        raise Refused(
            "The login has ended",
            status=Status.NOT_PERMITTED,
            hint="run the command again to log in",
            code="authentication_required",
        ) from error
    except client.Unreachable as error:
        raise Refused(f"{url} cannot be reached: {error}", code="unreachable") from error
    except client.Refusal as error:
        raise Refused(f"{url} answered: {error}", code="refused") from error


def _logins_file() -> Path:
    settings = os.environ.get("XDG_CONFIG_HOME", "").strip()
    return (Path(settings) if settings else Path.home() / ".config") / "tom" / "logins.json"


def _name() -> str:
    if not sys.stdin.isatty():
        usage("Say who you are with --user NAME")
    return input("Name: ").strip()


def _password(url: str, *, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    given = os.environ.get("TOM_PASSWORD")
    if given:
        return given
    if not sys.stdin.isatty():
        raise Refused(
            f"Not logged in at {url}",
            status=Status.NOT_PERMITTED,
            hint="log in once in a terminal, or give the password in TOM_PASSWORD or with --password-stdin",
            code="authentication_required",
        )
    from getpass import getpass

    return getpass(f"Password for {url}: ")
