"""The way of an HTTP request to its person's agent and of the answer back, streamed.

The client's own credentials and every header that could pass for the gateway's are dropped; who is calling is added by
the gateway alone. When the client goes away the exchange ends and the agent's run goes on.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from tom.errors import AuthenticationRequired, InvalidToken, TomError
from tom.gateway.agentlink import Broken, Exchange, LinkError, TimedOut, ask, exchange, link_headers
from tom.gateway.headers import inwards, may_pass, outwards
from tom.gateway.identify import Principal
from tom.gateway.pool import Lease, Pool
from tom.gateway.problems import last_event
from tom.gateway.reach import reach
from tom.gateway.refusals import AgentBroken, AgentTimedOut
from tom.gateway.request import ClientGone, Header, Request
from tom.openapi.operations import Dialect
from tom.spawner.spawner import AgentHandle
from tom.telemetry import logs

log = logs.get("proxy")

_EVENTS: Final = b"text/event-stream"
_ASK_SECONDS: Final = 5.0
_FIRST_EVENT: Final = 1024
"""Bytes of a stream's beginning that are remembered: its first event names the message."""
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Door:
    """How a proxied route is passed on: at most ``limit`` bytes of body; errors in this dialect."""

    dialect: Dialect
    limit: int = 65_536
    process: bool = False


class Proxy:
    """Passes requests on to agents."""

    def __init__(self, pool: Pool, *, secret_of: Callable[[str], str], timeout: float = 300.0) -> None:
        """``secret_of``: the secret of a user's agent; ``timeout``: seconds without a byte from the agent."""
        self._pool = pool
        self._secret_of = secret_of
        self._timeout = timeout

    async def serve(self, request: Request, door: Door) -> None:
        """Pass on and answer. Raises `AgentUnavailable`, `AgentTimedOut`, `AgentBroken` while nothing was answered."""
        principal = request.identity.principal
        if principal is None:
            raise AuthenticationRequired
        body = await request.body(door.limit)
        await self._until_gone(request, principal, self._pass_on(request, principal, door, body), door)

    async def _pass_on(self, request: Request, who: Principal, door: Door, body: bytes) -> None:
        headers = inwards(request.scope["headers"], request.headers)
        headers += self._link_headers(request, who)

        def connect(handle: AgentHandle) -> Awaitable[Exchange]:
            return exchange(handle.socket, request.method, target_of(request), headers, body)

        lease, link = await reach(self._pool, who.user, connect)
        try:
            await link.head(self._timeout)
            await self._stream(request, who, link, door)
        except TimedOut as error:
            raise await self._timed_out(request, who, lease, door, body) from error
        except Broken as error:
            raise await self._broken(who, error) from error
        finally:
            link.close()
            lease.release()

    def _link_headers(self, request: Request, who: Principal) -> list[Header]:
        caller = who.caller(request.address)
        return link_headers(who.user, self._secret_of(who.user), request.request_id, caller=caller)

    async def _stream(self, request: Request, who: Principal, link: Exchange, door: Door) -> None:
        if not may_pass(link.headers, link.status, without_body=request.method == "HEAD"):
            raise Broken("the answer is neither JSON nor events")
        headers = outwards(link.headers, link.status)
        request.streams_events = any(name == b"content-type" and value.startswith(_EVENTS) for name, value in headers)
        await request.send({"type": "http.response.start", "status": link.status, "headers": headers})
        try:
            while chunk := await link.chunk(self._timeout):
                request.told = request.told or chunk[:_FIRST_EVENT]
                await request.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except LinkError as error:
            failure = AgentTimedOut(who.user) if isinstance(error, TimedOut) else await self._broken(who, error)
            if not await _end_stream(request, failure, door.dialect):
                raise ClientGone from error
            return
        await request.send({"type": "http.response.body", "body": b""})

    async def _broken(self, who: Principal, error: LinkError) -> AgentBroken:
        await self._pool.look(who.user)
        log.error(f"❌ Agent of '{who.user}' failed during an answer: {error}", event="agent_failed")
        return AgentBroken(who.user)

    async def _timed_out(
        self, request: Request, who: Principal, lease: Lease, door: Door, body: bytes
    ) -> AgentTimedOut:
        """The refusal for an answer that did not come; it names the run when the message was accepted."""
        failure = AgentTimedOut(who.user)
        log.warning(f"⚠️ Agent of '{who.user}' did not answer in {self._timeout:g} s", event="agent_timeout")
        identifier = _request_id_of(body) if door.process else None
        if identifier:
            headers = self._link_headers(request, who)
            with contextlib.suppress(LinkError, msgspec.DecodeError):
                target = f"/process/{quote(identifier, safe='')}"
                status, answer = await ask(lease.handle.socket, target, headers, seconds=_ASK_SECONDS)
                run = msgspec.json.decode(answer, type=_Run) if status == 200 else _Run()
                if run.run_id:
                    failure.details.update(run_id=run.run_id, request_id=identifier)
        return failure

    async def _until_gone(self, request: Request, who: Principal, work: Awaitable[None], door: Door) -> None:
        """Do the work unless the client goes away or the login ends meanwhile."""
        task = asyncio.current_task()
        reasons: list[type[Exception]] = []

        def stop(reason: type[Exception]) -> None:
            reasons.append(reason)
            if len(reasons) == 1 and task:
                task.cancel()

        release = who.held.hold(lambda: stop(AuthenticationRequired))
        watcher = asyncio.ensure_future(_gone(request))
        watcher.add_done_callback(lambda done: None if done.cancelled() else stop(ClientGone))
        try:
            await work
        except asyncio.CancelledError:
            if not reasons or (task and task.uncancel() > 0):
                raise
            if reasons[0] is ClientGone:
                raise ClientGone from None
            await self._cut_off(request, who, door)
        else:
            if reasons and task:
                task.uncancel()
        finally:
            release()
            watcher.cancel()

    async def _cut_off(self, request: Request, who: Principal, door: Door) -> None:
        """The login or token has ended: nothing of the answer may follow."""
        error = AuthenticationRequired() if who.login else InvalidToken()
        if request.status == 0:
            raise error
        if not await _end_stream(request, error, door.dialect):
            raise ClientGone


class _Run(msgspec.Struct):
    """What a 504 wants to know of an answer of ``GET /process/{request_id}``, or of the request's own body."""

    run_id: str = ""
    request_id: str = ""


def target_of(request: Request) -> bytes:
    """Path and query as the client sent them."""
    query: bytes = request.scope["query_string"]
    path: bytes = request.scope.get("raw_path") or quote(request.path).encode()
    return path + b"?" + query if query else path


def _request_id_of(body: bytes) -> str:
    """What the body names itself, if it is an id at all."""
    try:
        given = msgspec.json.decode(body, type=_Run).request_id
    except msgspec.DecodeError:
        return ""
    return given if _IDENTIFIER.fullmatch(given) else ""


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _end_stream(request: Request, error: TomError, dialect: Dialect) -> bool:
    """Say in an event stream why it ends; False when the answer is of another kind and can only be cut off."""
    if not request.streams_events:
        return False
    await request.send({"type": "http.response.body", "body": last_event(request, error, dialect, request.told)})
    return True
