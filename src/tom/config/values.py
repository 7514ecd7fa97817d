"""The kinds of values that settings have: what is accepted and the words in which the rest is refused.

A refusal reads on from the path: ``global.listen.port must be an integer``. It never quotes a value that may be secret.
"""

import ipaddress
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from tom.config.secret import Secret

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_RESERVED = frozenset(("system", "tom", "all", "cherrypy", "expiry", "cancel", "restart"))
_MAX_PROSE = 8 * 1024


def web_url(text: str) -> str:
    """An http or https URL without user info, as given; ValueError otherwise."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("must be an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("must not contain user info; use headers")
    return text


def time_zone(text: str) -> str:
    """The name of a time zone; ValueError otherwise."""
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, such as Europe/Berlin") from None


def network(text: str) -> str:
    """An IP address or network, in its usual spelling; ValueError otherwise."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an IP address or network") from None


def host_name(text: str) -> str:
    """A host name or address; ValueError otherwise."""
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if _HOST.fullmatch(text):
            return text.lower()
        raise ValueError("must be a host name or an address") from None


def loopback(text: str) -> str:
    """``address:port`` of a loopback address; ValueError otherwise."""
    host, _, port = text.rpartition(":")
    try:
        valid = ipaddress.ip_address(host.strip("[]")).is_loopback and 0 < int(port) < 65_536
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"must be a loopback address, got {text[:100]!r}")
    return text


def username(text: str) -> str:
    """A user's name; ValueError otherwise."""
    if not _USERNAME.fullmatch(text):
        raise ValueError("must be 1 to 32 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
    if text in _RESERVED:
        raise ValueError(f"{text!r} is reserved")
    return text


def service_name(text: str) -> str:
    """A service's name; ValueError otherwise."""
    if not _SERVICE.fullmatch(text):
        raise ValueError("a service's name is 1 to 32 of a-z, 0-9, '_', '-', beginning with a letter or digit")
    if text == "tom":
        raise ValueError("'tom' is reserved for Tom's own tools")
    return text


def file_name(text: str) -> str:
    """A relative path that stays below its directory; ValueError otherwise."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError("must be a file name within the user's directory")
    return text


def language(text: str) -> str:
    """A language tag; ValueError otherwise."""
    if not _LANGUAGE.fullmatch(text):
        raise ValueError("must be a language tag, such as en or de-AT")
    return text


def _secret(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text" + ("; put it in quotes" if isinstance(value, int | float) else ""))  # noqa: TRY004 - pydantic collects ValueError
    return Secret(value)


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _prose(text: str) -> str:
    if len(text.encode(errors="replace")) > _MAX_PROSE:
        raise ValueError("must be at most 8 KiB")
    return text


SecretText = Annotated[Secret, PlainValidator(_secret, json_schema_input_type=str)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
Url = Annotated[str, AfterValidator(web_url)]
Zone = Annotated[str, AfterValidator(time_zone)]
Network = Annotated[str, AfterValidator(network)]
Host = Annotated[str, AfterValidator(host_name)]
Loopback = Annotated[str, AfterValidator(loopback)]
Language = Annotated[str, AfterValidator(language)]
Username = Annotated[str, AfterValidator(username)]
Prose = Annotated[str, AfterValidator(_prose)]
ServiceName = Annotated[str, AfterValidator(service_name)]
ToolClass = Literal["read_public", "read_private", "write_own", "write_external", "destructive"]
