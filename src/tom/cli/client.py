"""A client of the chat door: trusts, logs in, and keeps one socket open. It is synchronous, because its user is.

Nothing here prints. A lost connection is opened again with growing pauses; what has to be said then (resume, messages
without an acknowledgement) is up to the caller, who is told by `Line.opened`.
"""

import contextlib
import http.client
import json
import os
import platform
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tom import ids

CLIENT: Final = "tom-chat"
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
RESTART: Final = 1012
LOGIN_ENDED: Final = 4401
_HTTP_SECONDS: Final = 60.0
_OPEN_SECONDS: Final = 40.0


class LoginNeeded(Exception):
    """There is no valid login for this address."""


class LoginRefused(Exception):
    """The name or password was not taken; the text says why."""


class Unreachable(Exception):
    """The gateway cannot be reached; the text says why."""


class Refusal(Exception):
    """The gateway answered with an error."""

    def __init__(self, status: int, message: str, code: str = "", details: Mapping[str, Any] | None = None) -> None:
        """``status`` is that of HTTP; ``code`` and ``details`` are the answer's, where it has them."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details or {}


# --- trust -------------------------------------------------------------------------------------------------------


def trust(url: str, *, certificates: tuple[Path, ...] = (), insecure: bool = False) -> ssl.SSLContext | None:
    """What to believe of the server at ``url``: the system's authorities and ``certificates``. None without TLS.

    Raises `Unreachable` when a certificate cannot be read.
    """
    if urlsplit(url).scheme != "https":
        return None
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in certificates:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            message = f"The certificate {path} cannot be read: {error}"
            raise Unreachable(message) from error
    return context


class Logins:
    """Login cookies by address, in a file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        """Use the file at ``path``, which need not exist."""
        self._path = path

    def get(self, url: str, user: str | None) -> tuple[str, str] | None:
        """(user, cookie) kept for ``url``, if it is that of ``user`` or nobody is named."""
        kept = self._read().get(url, {})
        known, cookie = kept.get("user"), kept.get("cookie")
        if not isinstance(known, str) or not isinstance(cookie, str) or (user is not None and user != known):
            return None
        return known, cookie

    def put(self, url: str, user: str, cookie: str) -> None:
        """Keep a login; replaces the one for the same address."""
        self._write({**self._read(), url: {"user": user, "cookie": cookie}})

    def drop(self, url: str) -> None:
        """Forget a login."""
        self._write({known: login for known, login in self._read().items() if known != url})

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            value = _fields(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError):
            return {}
        return {url: _fields(login) for url, login in value.items()}

    def _write(self, logins: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(logins, file, indent=1)
        fresh.replace(self._path)


# --- HTTP --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Door:
    """The gateway at ``url`` (scheme, host, port), with whose login ``cookie`` one enters."""

    url: str
    tls: ssl.SSLContext | None
    cookie: str = ""

    def log_in(self, username: str, password: str) -> None:
        """Log in and keep the cookie. Raises `LoginRefused`, `Unreachable`."""
        status, headers, answer = self._ask("POST", "/login", {"username": username, "password": password})
        if status != 200:
            raise LoginRefused(_refusal_text(status, answer))
        cookie = headers.get("Set-Cookie", "").partition(";")[0]
        if "=" not in cookie:
            raise LoginRefused("The answer has no login cookie; is this the address of a Tom gateway?")
        self.cookie = cookie

    def sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        """The conversations, newest first. Raises `LoginNeeded`, `Refusal`, `Unreachable`."""
        return self.get(f"/sessions?{urlencode({'limit': limit})}")["sessions"]

    def last_seq(self, conversation_id: str) -> int | None:
        """The number of a conversation's newest event; None when there is no such conversation."""
        try:
            return self.get(f"/sessions/{quote(conversation_id, safe='')}/events?after=0&limit=1")["last_seq"]
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def connect(self) -> ClientConnection:
        """Open the socket. Raises `LoginNeeded`, `Refusal`, `Unreachable`."""
        address = f"ws{self.url.removeprefix('http')}/ws/chat"
        headers = {"Cookie": self.cookie, "X-Tom-Client": CLIENT}
        try:
            return connect(
                address,
                ssl=self.tls,
                additional_headers=headers,
                user_agent_header=_device(),
                compression=None,
                proxy=None,
                open_timeout=_OPEN_SECONDS,
                max_size=None,
                max_queue=None,  # while a person types nothing is read, and pings must still be answered
            )
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise LoginNeeded from error
            status, body = error.response.status_code, bytes(error.response.body or b"")
            raise Refusal(status, _refusal_text(status, _parsed(body))) from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise Unreachable(_reason(error)) from error

    def get(self, path: str) -> Any:
        """The JSON at ``path``. Raises `LoginNeeded`, `Refusal`, `Unreachable`."""
        return self._answer("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send ``body`` and return the JSON of the answer. Raises `LoginNeeded`, `Refusal`, `Unreachable`."""
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        status, _, answer = self._ask(method, path, body)
        if status == 401:
            raise LoginNeeded
        if status != 200:
            error = _fields(_fields(answer).get("error"))
            code, details = str(error.get("code") or ""), _fields(error.get("details"))
            raise Refusal(status, _refusal_text(status, answer), code, details)
        return answer

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, http.client.HTTPMessage, Any]:
        place = urlsplit(self.url)
        host = place.hostname or ""
        if self.tls is None:
            connection = http.client.HTTPConnection(host, place.port, timeout=_HTTP_SECONDS)
        else:
            connection = http.client.HTTPSConnection(host, place.port, timeout=_HTTP_SECONDS, context=self.tls)
        headers = {"Accept": "application/json", "X-Tom-Client": CLIENT, "Cookie": self.cookie, "User-Agent": _device()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            return response.status, response.headers, _parsed(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from error
        finally:
            connection.close()


def _device() -> str:
    """What is told of this device: answers are stored with it."""
    return f"{CLIENT} ({platform.system()} {platform.node()})".encode("ascii", "replace").decode()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def _refusal_text(status: int, answer: Any) -> str:
    known = _fields(answer)
    if "retry_after" in known:
        return f"Too many attempts. Try again in {known['retry_after']:.0f} s"
    return str(known.get("message") or _fields(known.get("error")).get("message") or f"HTTP {status}")


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message}); name it with --ca, or the data with --data"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# --- the socket --------------------------------------------------------------------------------------------------


class Line:
    """One socket that is opened again whenever it is lost."""

    def __init__(self, door: Door, *, patience: float = 300.0) -> None:
        """Give up after ``patience`` seconds without a connection."""
        self._door = door
        self._patience = patience
        self._socket: ClientConnection | None = None
        self._wait = FIRST_WAIT
        self._next = 0.0
        self._lost_at: float | None = None
        self.opened = 0

    @property
    def live(self) -> bool:
        """Whether a socket is open."""
        return self._socket is not None

    def open(self) -> None:
        """Open the socket now. Raises `LoginNeeded`, `Refusal`, `Unreachable`."""
        self._socket = self._door.connect()
        self._lost_at = None
        self.opened += 1

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, action: str, payload: Mapping[str, Any], request_id: str = "") -> str:
        """Send an action, if there is a connection; returns the request id it has."""
        request_id = request_id or f"{action}-{ids.ulid()}"
        if self._socket is not None:
            frame = {"action": action, "request_id": request_id, "payload": payload}
            with contextlib.suppress(ConnectionClosed):  # noticed, and mended, by the next `receive`
                self._socket.send(json.dumps(frame, ensure_ascii=False))
        return request_id

    def receive(self, seconds: float) -> str | None:
        """The next frame; None when none came in time, or the connection is being mended.

        After a reconnection ``opened`` has grown. Raises `LoginNeeded` when the login ended and `Unreachable` when
        patience did.
        """
        if self._socket is None:
            self._mend(seconds)
            return None
        try:
            frame = self._socket.recv(seconds)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            self._lose(closed.rcvd.code if closed.rcvd else 1006)
            return None
        self._wait = FIRST_WAIT
        return frame if isinstance(frame, str) else None

    def _lose(self, code: int) -> None:
        self._socket = None
        if code == LOGIN_ENDED:
            raise LoginNeeded
        self._lost_at = self._lost_at or time.monotonic()
        at_once = code == RESTART and self._wait == FIRST_WAIT
        self._plan(0.1 if at_once else None)

    def _plan(self, pause: float | None = None) -> None:
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - spreads reconnections, guards nothing
        self._next = time.monotonic() + (self._wait * spread if pause is None else pause)
        self._wait = min(self._wait * 2, LONGEST_WAIT)

    def _mend(self, seconds: float) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(min(seconds, self._next - now))
            return
        try:
            self.open()
        except (Unreachable, Refusal) as error:
            if now - (self._lost_at or now) > self._patience:
                raise Unreachable(str(error)) from error
            self._plan()
