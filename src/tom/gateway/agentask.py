"""One request to a user's agent on behalf of whoever may open the control socket: the operator of this machine."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tom.errors import CallerError
from tom.gateway.agentlink import Broken, Exchange, LinkError, TimedOut, exchange, link_headers
from tom.gateway.pool import Pool
from tom.gateway.reach import reach
from tom.gateway.refusals import AgentBroken, AgentTimedOut, BadRequest
from tom.ids import ulid
from tom.spawner.spawner import AgentHandle

DOOR: Final = "control"
SECONDS: Final = 120.0
"""How long an agent may be silent; a diagnosis may ask a language model."""

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_LARGEST: Final = 64 * 1024 * 1024
_PATH: Final = re.compile(r"/[^\x00-\x20\x7f]*")


class UserDisabled(CallerError):
    """This user is disabled and has no agent."""

    code = "user_disabled"
    http_status = 409


class Errand(msgspec.Struct, forbid_unknown_fields=True):
    """What the agent is asked. ``path`` with its query; ``body`` is any JSON value, or left out."""

    method: str
    path: str
    body: msgspec.Raw = msgspec.Raw()


class AgentAsk:
    """Forwards errands to agents, which are started when needed and answer as they would a person."""

    def __init__(self, pool: Pool, secret_of: Callable[[str], str], *, seconds: float = SECONDS) -> None:
        """``secret_of``: the secret of a user's agent."""
        self._pool = pool
        self._secret_of = secret_of
        self._seconds = seconds

    async def ask(self, user: str, content: bytes) -> Mapping[str, Any]:
        """``{"status", "body"}``: the agent's own status, and its body as JSON, or as text where it is none.

        Raises `BadRequest`, `AgentUnavailable`, `AgentTimedOut`, `AgentBroken`.
        """
        errand = _read(content)
        headers = link_headers(user, self._secret_of(user), ulid(), DOOR)
        headers.append((b"accept", b"application/json"))
        body = bytes(errand.body)
        if body:
            headers.append((b"content-type", b"application/json"))
        target = quote(errand.path, safe="/?&=%:;,@+$!*'()~").encode("ascii")

        def connect(handle: AgentHandle) -> Any:
            return exchange(handle.socket, errand.method, target, headers, body)

        lease, link = await reach(self._pool, user, connect)
        try:
            return await self._answer(link)
        except TimedOut as error:
            raise AgentTimedOut(user) from error
        except LinkError as error:
            await self._pool.look(user)
            raise AgentBroken(user) from error
        finally:
            link.close()
            lease.release()

    async def _answer(self, link: Exchange) -> Mapping[str, Any]:
        await link.head(self._seconds)
        body = await link.body(self._seconds, _LARGEST)
        kind = dict(link.headers).get(b"content-type", b"")
        if not kind.startswith(b"application/json"):
            return {"status": link.status, "body": body.decode(errors="replace") or None}
        try:
            return {"status": link.status, "body": msgspec.json.decode(body)}
        except msgspec.DecodeError as error:
            raise Broken("its answer is not JSON") from error


def _read(content: bytes) -> Errand:
    try:
        errand = msgspec.json.decode(content, type=Errand)
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request cannot be read: {error}") from error
    if errand.method not in _METHODS or not _PATH.fullmatch(errand.path):
        raise BadRequest("'method' or 'path' is not one")
    return errand
