"""The way of a WebSocket to its person's agent: checked once as an HTTP request, then connected (`relay`)."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tom.accounts.tickets import agreed_protocol
from tom.errors import AuthenticationRequired, NoHandshake, NotFoundHere, ShuttingDown, TomError
from tom.gateway.agentlink import Broken, LinkError, NotReachable, link_headers, render_head
from tom.gateway.gate import Gate
from tom.gateway.headers import accepting, handshake, inwards, is_handshake, switching
from tom.gateway.identify import Principal
from tom.gateway.pool import Pool
from tom.gateway.problems import InternalError, problem
from tom.gateway.proxy import target_of
from tom.gateway.rates import AddressRates
from tom.gateway.reach import reach
from tom.gateway.refusals import AgentBroken
from tom.gateway.relay import AgentSide, ClientSide
from tom.gateway.request import Header, Request
from tom.openapi.operations import Dialect, Rate
from tom.policy.permissions import Scope, require
from tom.spawner.spawner import AgentHandle
from tom.spawner.unixpath import reachable
from tom.telemetry import logs

log = logs.get("proxy")

_HANDSHAKE_SECONDS: Final = 30.0
_TRY_LATER: Final = 1013


class SocketDoor:
    """Decides about upgrade requests and connects the accepted ones."""

    def __init__(
        self,
        gate: Gate,
        pool: Pool,
        *,
        secret_of: Callable[[str], str],
        endpoint: str,
        standard_headers: Callable[[str], list[Header]],
        largest: int,
        most: int = 1000,
        rates: AddressRates | None = None,
        refused: Callable[[TomError], None] | None = None,
    ) -> None:
        """``endpoint``: the one path that is a socket; ``standard_headers`` (by request id) are on every answer.

        ``largest``: bytes of one frame of a client; ``most``: sockets at the same time; ``rates`` None: nothing is counted.
        ``refused`` is told of every refusal.
        """
        self._rates = rates
        self._refused = refused
        self._most = most
        self._open = 0
        self._largest = largest
        self._gate = gate
        self._pool = pool
        self._secret_of = secret_of
        self._endpoint = endpoint
        self._standard_headers = standard_headers
        self.stopping = False

    def protocol(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> ClientSide:
        """What the HTTP server hands an upgrade request to."""
        del config, app_state
        return ClientSide(self.open, server_state, largest=self._largest)

    async def open(self, client: ClientSide, request: Request) -> None:
        """Check, connect, relay; or refuse by HTTP. Returns when the relay runs or the refusal is written."""
        try:
            who = await self._check(request)
            if client.ending:
                return
            self._open += 1
            client.gone = self._leave
            if self._open > self._most:
                self._turn_away(client, request)
                return
            with logs.bind(user=who.user, request_id=request.request_id):
                await self._connect(client, request, who)
        except TomError as error:
            if self._refused is not None:
                self._refused(error)
            client.refuse(problem(request, error, Dialect.CHAT), self._standard_headers(request.request_id))
        except Exception as error:  # noqa: BLE001 - the last resort of this connection
            log.error("❌ A socket could not be opened", event="request_failed", error=error)
            client.refuse(problem(request, InternalError(), Dialect.CHAT), [])

    async def _check(self, request: Request) -> Principal:
        """Who may open the socket; the checks are in the contract's order."""
        self._gate.receive(request)
        await self._gate.check_url(request)
        if request.path != self._endpoint:
            raise NotFoundHere
        identity = self._gate.identify_socket(request)
        if identity.principal is None:
            raise identity.refused or AuthenticationRequired
        require(identity.principal.caller(request.address), Scope.CHAT)
        if not is_handshake(request.headers):
            raise NoHandshake
        if self.stopping:
            raise ShuttingDown
        if self._rates is not None:
            await self._rates.admit(request.address, Rate.WRITE)
        return identity.principal

    def _leave(self) -> None:
        self._open -= 1

    def _turn_away(self, client: ClientSide, request: Request) -> None:
        """There are as many sockets as may be: accepted, and closed before anything is read."""
        answer = accepting(request.headers, _protocol(request))
        standard = self._standard_headers(request.request_id)
        client.turn_away([*answer, *standard], _TRY_LATER, "Server at maximum capacity")

    async def _connect(self, client: ClientSide, request: Request, who: Principal) -> None:
        """Connect, a second time when the agent died before it answered: an upgrade has no effect until it did."""
        user, protocol = who.user, _protocol(request)
        headers = inwards(request.scope["headers"], request.headers) + handshake(request.scope["headers"], protocol)
        caller = who.caller(self._rates.told(request.address) if self._rates else request.address)
        headers += link_headers(user, self._secret_of(user), request.request_id, caller=caller)
        head = render_head("GET", target_of(request), headers, length=None)
        try:
            await self._upgrade(client, request, who, head)
        except (LinkError, TimeoutError) as error:
            log.warning(f"⚠️ Agent of '{user}' did not open a socket: {error}", event="agent_failed")
            if not await self._pool.ended(user):
                raise AgentBroken(user) from error
            try:
                await self._upgrade(client, request, who, head)
            except (LinkError, TimeoutError) as again:
                raise AgentBroken(user) from again

    async def _upgrade(self, client: ClientSide, request: Request, who: Principal, head: bytes) -> None:
        lease, agent = await reach(self._pool, who.user, _open_agent_side)
        standard = self._standard_headers(request.request_id)
        try:
            agent.transport.write(head)
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await agent.answered
            if agent.switched:
                answer = switching(agent.head, _protocol(request))
                if answer is None:
                    raise Broken("the answer is no handshake")
                client.relay(agent, lease, who.held, [*answer, *standard])
                return
            client.refuse(await agent.refusal(), standard)
        finally:
            if client.agent is not agent:
                agent.transport.abort()
                lease.release()


async def _open_agent_side(handle: AgentHandle) -> AgentSide:
    try:
        with reachable(handle.socket) as address:
            return (await asyncio.get_running_loop().create_unix_connection(AgentSide, address))[1]
    except OSError as error:
        raise NotReachable(str(error)) from error


def _protocol(request: Request) -> str | None:
    return agreed_protocol(request.headers.get(b"sec-websocket-protocol", b"").decode("latin-1"))
