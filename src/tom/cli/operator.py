"""Asking a person's agent on the operator's behalf: over the control socket of a gateway, or of an agent that runs alone.

Whoever may open a control socket is the operator of this machine; the agent sees the door ``control``. An agent that runs
alone elsewhere on this machine (``--url``) answers whoever sits at it.
"""

import asyncio
import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from tom.cli.directory import existing, holder
from tom.cli.output import Refused, Status, usage

ALONE: Final = "local"
"""The user of an agent that runs alone."""

SECONDS: Final = 150.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LARGEST: Final = 64 * 1024 * 1024
_ENDS: Final = {
    401: Status.NOT_PERMITTED,
    403: Status.NOT_PERMITTED,
    404: Status.NOT_FOUND,
    409: Status.CHANGED,
    502: Status.UNREACHABLE,
    503: Status.UNREACHABLE,
    504: Status.UNREACHABLE,
}


def ask_agent(data: Path, user: str, method: str, path: str, body: Any = None, *, url: str = "") -> Any:
    """What the agent of ``user`` answers to one request: its JSON, or its text. The agent is started when needed.

    ``url``: ask the agent that runs alone there instead; ``data`` and ``user`` do not matter then. Raises `Refused`:
    status 5 for an unknown user or thing, 7 where nothing runs that could be asked, else as the answer's status says.
    """
    if url:
        status, answer = ask_alone(url, method, path, body)
    elif runs_alone(data):
        status, answer = ask_at_control_socket(data, method, path, body)
    else:
        status, answer = _over_gateway(data, user, method, path, body)
    return checked(status, answer)


def checked(status: int, answer: Any) -> Any:
    """The answer, if it is one. Raises `Refused`."""
    if status < 400:
        return answer
    code, message = _told(answer)
    raise Refused(message or f"HTTP {status}", status=_ENDS.get(status, Status.FAILED), code=code or "failed")


def whose(data: Path, given: str | None, *, url: str = "") -> str:
    """The user a command is about: as given, else the only one there is. Raises `Refused`."""
    if given or url or runs_alone(data):
        return given or ALONE
    answer = ask_gateway_of(data, "GET", "/users")
    people = [str(person["user"]) for person in answer.get("users", ()) if not person.get("disabled")]
    if not people:
        usage("There are no users yet; add one with: tom user add")
    if len(people) > 1:
        usage(f"Say whose: --user {' | '.join(people)}")
    return people[0]


def segment(text: str) -> str:
    """``text`` as one segment of a path."""
    return quote(text, safe="")


def _over_gateway(data: Path, user: str, method: str, path: str, body: Any) -> tuple[int, Any]:
    errand = {"method": method, "path": path} | ({} if body is None else {"body": body})
    answer = ask_gateway_of(data, "POST", f"/agents/{segment(user)}/request", errand)
    return int(answer["status"]), answer.get("body")


def ask_gateway_of(data: Path, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the gateway of a data directory answers at its control socket. Raises `Refused`."""
    from tom.gateway.agentlink import LinkError
    from tom.gateway.controlclient import ask_gateway

    existing(data)
    try:
        status, answer = asyncio.run(ask_gateway(data, method, path, body, seconds=SECONDS))
    except LinkError as error:
        if holder(data) is None:
            raise _nothing_runs(data) from error
        raise Refused(
            f"The running gateway does not answer: {error}", status=Status.UNREACHABLE, code="gateway_unreachable"
        ) from error
    if status != 200:
        code, message = _told(answer)
        raise Refused(message or f"HTTP {status}", status=_ENDS.get(status, Status.FAILED), code=code or "failed")
    return answer


def _nothing_runs(data: Path) -> Refused:
    if of_agent_alone(data):
        hint = f"start it with: tom agent --standalone --data {data}"
        return Refused(f"No agent runs on {data}", status=Status.UNREACHABLE, hint=hint, code="no_agent")
    return Refused(
        f"No gateway runs on {data}",
        status=Status.UNREACHABLE,
        hint="start it with: tom up, name another directory with --data, or an agent that runs alone with --url",
        code="no_gateway",
    )


def ask_alone(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask the agent that runs alone at ``url``; returns status and body. Raises `Refused`."""
    place = urlsplit(url if "://" in url else f"http://{url}")
    if place.scheme != "http" or place.hostname not in _LOOPBACK or place.path.strip("/"):
        usage(f"'{url}' is no address of an agent on this machine; it looks like http://localhost:8000")
    connection = http.client.HTTPConnection(place.hostname, place.port or 8000, timeout=SECONDS)
    return _exchange(connection, url, method, path, body)


def runs_alone(data: Path) -> bool:
    """Whether an agent alone runs on this data directory, and no gateway."""
    if holder(data) is not None:
        return False
    connection = _AtSocket(control_path(data), timeout=1.0)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError:
            return False
    return True


def of_agent_alone(data: Path) -> bool:
    """Whether a data directory is that of an agent alone: one has served there, and no gateway ever."""
    return control_path(data).with_name("door.db").exists() and not (data / "gateway" / "gateway.db").exists()


def control_path(data: Path) -> Path:
    """Where an agent alone has its control socket."""
    return data / "users" / ALONE / "agent.sock"


def ask_at_control_socket(data: Path, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask the agent that runs alone on ``data`` as its operator; returns status and body. Raises `Refused`."""
    place = control_path(data)
    return _exchange(_AtSocket(place, timeout=SECONDS), str(place), method, path, body)


class _AtSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, place: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._place = place

    def connect(self) -> None:
        """Connect to the socket's file, however long its path is."""
        from tom.spawner.unixpath import reachable

        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with reachable(str(self._place)) as address:
            self.sock.connect(address)


def _exchange(connection: http.client.HTTPConnection, place: str, method: str, path: str, body: Any) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body).encode()
    headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content is not None else {})
    with contextlib.closing(connection):
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise Refused(
                f"{place} cannot be reached: {error}",
                status=Status.UNREACHABLE,
                hint="start an agent there with: tom agent --standalone",
                code="unreachable",
            ) from error
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return answer.status, text.decode(errors="replace") or None
    try:
        return answer.status, json.loads(text)
    except ValueError as error:
        raise Refused(f"{place} did not answer in JSON", status=Status.UNREACHABLE, code="unreachable") from error


def _told(answer: Any) -> tuple[str, str]:
    """Code and message of a refusal, in either dialect of the doors."""
    if not isinstance(answer, dict):
        return "", str(answer or "")
    told = cast("dict[str, Any]", answer)
    inner = told.get("error")
    if isinstance(inner, dict):
        told = cast("dict[str, Any]", inner)
    return str(told.get("code") or ""), str(told.get("message") or "")
