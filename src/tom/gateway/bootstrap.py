"""Puts the gateway together: the only place here that reads settings and chooses implementations."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tom.accounts.accounts import Accounts
from tom.accounts.hosts import Hosts
from tom.accounts.logins import LoginLimits
from tom.accounts.tickets import Tickets
from tom.accounts.users import UserEntry
from tom.clock import Clock, SystemClock
from tom.config.document import encode_agent
from tom.config.secret import Secret
from tom.config.settings import Settings
from tom.gateway.agentlink import LinkError, ask, link_headers
from tom.gateway.agentsecret import agent_secret
from tom.gateway.app import GatewayApp
from tom.gateway.awake import Awake
from tom.gateway.certwatch import CertificateWatch
from tom.gateway.control import SOCKET, Control
from tom.gateway.gate import Burn, Gate
from tom.gateway.headers import security_headers
from tom.gateway.house import House, open_house
from tom.gateway.identify import Principal
from tom.gateway.login import LoginDoor
from tom.gateway.pool import Pool, PoolLimits
from tom.gateway.proxy import Proxy
from tom.gateway.rates import AddressRates
from tom.gateway.request import Header
from tom.gateway.routes import Health, login_page, own_routes, page, proxied_routes, token_routes
from tom.gateway.serving import Listener, Server, bind_https, bind_loopback
from tom.gateway.table import Table
from tom.gateway.tokens import TokenDoor
from tom.gateway.websocket import SocketDoor
from tom.ids import ulid
from tom.limits.addresses import Peers
from tom.limits.bypass import Bypass
from tom.limits.link import RedisLink, open_link
from tom.limits.opening import open_limiter
from tom.spawner.spawner import AgentHandle, AgentSpec, Spawner
from tom.spawner.unixpath import SocketDirectory
from tom.telemetry import logs

log = logs.get("gateway")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types tom"
)
_ALL_ADDRESSES: Final = {"0.0.0.0", "::"}
_HEALTH_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Parts:
    """What is built when the gateway starts."""

    accounts: Accounts
    pool: Pool
    health: Health
    app: GatewayApp
    sockets: SocketDoor
    rates: AddressRates
    house: House
    servers: list[Server] = field(default_factory=list[Server])


class Gateway:
    """One gateway: `serve` until `stop`."""

    def __init__(self, settings: Settings, spawner: Spawner, *, clock: Clock, env: Mapping[str, str]) -> None:
        """Use `build`."""
        self._settings = settings
        self._spawner = spawner
        self._clock = clock
        self._env = env
        self._passphrase = env.get("TOM_TLS_PASSPHRASE") or None
        self._shared_secret = env.get("TOM_AGENT_SECRET", "")
        self._secrets: dict[str, Secret] = {}
        self._stopping = asyncio.Event()
        self._parts: _Parts | None = None
        self._link: RedisLink | None = None
        self._watch: CertificateWatch | None = None
        self.started = asyncio.Event()
        """Set when the gateway answers."""
        self.restarting = False
        """Whether an admin wants the program started again."""
        self.addresses: list[str] = []
        """Where people can open it, the best first."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in use, as browsers show it."""
        return self._watch.certificate.fingerprint if self._watch else ""

    @property
    def rates(self) -> AddressRates:
        """What is counted of addresses, and the bypass list. RuntimeError before it serves."""
        if self._parts is None:
            raise RuntimeError("the gateway does not serve")
        return self._parts.rates

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def use(self, settings: Settings) -> None:
        """Put others in force, for agents that start from now on."""
        self._settings = settings

    async def serve(self) -> None:
        """Listen and answer until `stop`; then drain. Agents are left to the spawner's `close`.

        Raises `StartRefused` with the lines to print, `StoreInUse`, `StoreTooNew`.
        """
        settings = self._settings
        directory = settings.data_dir / "gateway"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        watch = self._watch = CertificateWatch(
            settings.data_dir / "tls", passphrase=self._passphrase, clock=self._clock
        )
        async with contextlib.AsyncExitStack() as stack:
            listeners = self._bind(watch, stack)
            parts = self._parts = await self._build(watch, stack)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._works(parts, watch)]
                await self._listen(parts, listeners, stack)
                parts.health.ready = True
                _warn_of_shared_uid(settings)
                self.started.set()
                log.info(f"🚀 Gateway listens on {', '.join(self.addresses)}", event="gateway_started")
                await self._stopping.wait()
                await self._drain(parts)
                for task in tasks:
                    task.cancel()
        log.info("🛑 Gateway stopped", event="gateway_stopped")

    def restart(self) -> None:
        """Ask `serve` to end; whoever started this program is to start it again."""
        self.restarting = True
        self.stop()

    def _works(self, parts: _Parts, watch: CertificateWatch) -> tuple[Coroutine[Any, Any, None], ...]:
        """What goes on beside answering."""
        return parts.accounts.run(), watch.run(), self._settle(parts), parts.house.run()

    def stop(self) -> None:
        """Ask `serve` to end. Idempotent."""
        self._stopping.set()

    async def apply(self, settings: Settings) -> None:
        """Put a changed configuration in force: users and rates at once, the rest of an agent at its next start."""
        gone = {user.username for user in self._settings.users} - _present(settings)
        self._settings = settings
        if self._parts:
            self._parts.rates.settings = settings.doors.rates
            await self._parts.accounts.apply(_entries(settings))
            for user in gone:
                await self._parts.pool.drop(user)

    # --- building -------------------------------------------------------------------------------------------------

    def _bind(self, watch: CertificateWatch, stack: contextlib.AsyncExitStack) -> list[Listener]:
        listen = self._settings.listen
        public, warning = bind_https(listen.host, listen.port)
        stack.callback(public.close)
        if warning:
            log.warning(warning, event="port")
        port = public.getsockname()[1]
        suffix = "" if port == 443 else f":{port}"
        names = ["localhost", *watch.certificate.names] if listen.host in _ALL_ADDRESSES else [listen.host]
        self.addresses = [f"https://{_bracketed(name)}{suffix}" for name in dict.fromkeys(names) if "*" not in name]
        listeners = [Listener(public, watch.context)]
        if listen.loopback_http:
            plain = bind_loopback(*listen.loopback_http)
            stack.callback(plain.close)
            listeners.append(Listener(plain))
        return listeners

    async def _build(self, watch: CertificateWatch, stack: contextlib.AsyncExitStack) -> _Parts:
        settings = self._settings
        directory = settings.data_dir / "gateway"
        accounts = await open_accounts(settings, self._clock)
        stack.push_async_callback(accounts.close)
        limits = settings.spawner
        pool = Pool(
            self._spawner,
            spec_of=self._spec_of,
            active_runs=self._active_runs,
            awake=Awake(directory / "awake"),
            clock=self._clock,
            limits=PoolLimits(limits.start_timeout, limits.idle_stop, limits.max_agents),
        )
        await stack.enter_async_context(pool)
        tickets = Tickets[Principal](self._clock)
        rates = await self._rates(accounts, stack)
        house = await open_house(
            settings,
            self,
            database=accounts.database,
            pool=pool,
            secret_of=self._secret_of,
            rates=rates,
            clock=self._clock,
            env=self._env,
        )
        stack.push_async_callback(house.chain.close)
        gate = self._gate(watch, accounts, tickets, house.burning(accounts.tokens))
        health = Health(house.uptime, pool, lambda: watch.state, house.numbers, house.details)
        standard = _standard_headers(watch)
        endpoint = settings.chat.endpoint
        proxy = Proxy(pool, secret_of=self._secret_of, timeout=settings.proxy_timeout)
        routes = [*own_routes(LoginDoor(accounts, login_page, house.chain), health, endpoint), *proxied_routes(proxy)]
        routes += token_routes(TokenDoor(accounts, tickets, self._clock, house.chain, endpoint=endpoint))
        routes += house.routes()
        app = GatewayApp(
            gate,
            Table(routes),
            house.metrics,
            standard,
            cors_origins=settings.cors_origins,
            socket_origins=settings.chat.allow_origins,
            rates=rates,
        )
        sockets = SocketDoor(
            gate,
            pool,
            secret_of=self._secret_of,
            endpoint=endpoint,
            standard_headers=standard,
            largest=settings.chat.max_message_size,
            most=settings.chat.max_connections,
            rates=rates,
            refused=house.refused,
        )
        return _Parts(accounts, pool, health, app, sockets, rates, house)

    async def _rates(self, accounts: Accounts, stack: contextlib.AsyncExitStack) -> AddressRates:
        """What is counted of addresses, here and (with `REDIS_URL`) together with others."""
        doors = self._settings.doors
        bypass = Bypass(accounts.database, self._clock)
        await bypass.load()
        self._link = open_link(doors.redis.url.reveal(), self._clock)
        limiter = open_limiter(self._link, self._clock)
        stack.push_async_callback(limiter.close)
        return AddressRates(limiter, doors.rates, bypass)

    def _gate(self, watch: CertificateWatch, accounts: Accounts, tickets: Tickets[Principal], burn: Burn) -> Gate:
        settings = self._settings
        return Gate(
            Hosts(settings.public_hosts, certificate_names=lambda: watch.certificate.names),
            Peers(settings.trusted_proxies),
            accounts,
            listed_origins=settings.chat.allow_origins,
            tickets=tickets,
            burn=burn,
        )

    async def _listen(self, parts: _Parts, listeners: list[Listener], stack: contextlib.AsyncExitStack) -> None:
        assert self._watch  # noqa: S101 - made by `serve`
        standard = _standard_headers(self._watch)
        peers = Peers(self._settings.trusted_proxies)
        public = Server(parts.app, sockets=parts.sockets.protocol, standard_headers=standard, is_proxy=peers.trusts)
        parts.servers.append(public)
        for listener in listeners:
            await public.listen(listener)
        control = Control(
            parts.accounts,
            parts.pool,
            secret_of=self._secret_of,
            describe=self._describe,
            reload=self._reload,
            chain=parts.house.chain,
        )
        private = Server(control, sockets=None, standard_headers=standard)
        parts.servers.append(private)
        sockets = SocketDirectory(self._settings.data_dir / "gateway")
        stack.callback(sockets.close)
        await private.listen_unix(sockets.listen(SOCKET))

    async def _settle(self, parts: _Parts) -> None:
        """What can wait until the first request has been answered."""
        await self.started.wait()
        if self._link is not None:
            await self._link.open()
        await parts.pool.wake()
        await asyncio.to_thread(page)

    async def _drain(self, parts: _Parts) -> None:
        parts.health.ready = False
        parts.app.stopping = parts.sockets.stopping = True
        # Agents end before the way to them is cut: a run that ends within its time is still told to its reader.
        await parts.pool.drain()
        async with asyncio.TaskGroup() as group:
            for server in parts.servers:
                group.create_task(server.stop(_DRAIN_SECONDS))

    # --- what the parts ask for -----------------------------------------------------------------------------------

    def _secret(self, user: str) -> Secret:
        secret = self._secrets.get(user)
        if secret is None:
            home = self._settings.data_dir / "users" / user
            secret = self._secrets[user] = Secret(self._shared_secret) if self._shared_secret else agent_secret(home)
        return secret

    def _secret_of(self, user: str) -> str:
        return self._secret(user).reveal()

    def _spec_of(self, user: str) -> AgentSpec:
        settings = self._settings.agent(user, self._secret(user))
        socket = self._settings.data_dir / "gateway" / "agents" / f"{user}.sock"
        return AgentSpec(user, encode_agent(settings), str(socket))

    async def _active_runs(self, handle: AgentHandle) -> int:
        headers = link_headers(handle.user, self._secret_of(handle.user), ulid())
        _, body = await ask(handle.socket, "/health", headers, seconds=_HEALTH_SECONDS)
        try:
            return msgspec.json.decode(body, type=_AgentHealth).active_runs
        except msgspec.DecodeError as error:
            raise LinkError("the agent's health cannot be read") from error

    def _describe(self) -> dict[str, Any]:
        parts = self._parts
        return {
            "ready": bool(parts and parts.health.ready),
            "tls": self._watch.state if self._watch else "",
            "agents": parts.pool.counts() if parts else {},
            "addresses": self.addresses,
            "fingerprint": self.fingerprint,
        }

    async def _reload(self) -> None:
        settings = await asyncio.to_thread(Settings.load, self._settings.data_dir, self._settings.path)
        await self.apply(settings)
        log.info("✅ Configuration reloaded", event="configuration_reloaded")


class _AgentHealth(msgspec.Struct):
    """What an agent that was shown its secret says of itself."""

    active_runs: int


def build(
    settings: Settings, spawner: Spawner, *, clock: Clock | None = None, env: Mapping[str, str] = os.environ
) -> Gateway:
    """Make a gateway of these settings; nothing is opened before `Gateway.serve`."""
    return Gateway(settings, spawner, clock=clock or SystemClock(), env=env)


async def open_accounts(settings: Settings, clock: Clock) -> Accounts:
    """The accounts of an installation; for the gateway, or for a command while no gateway runs.

    Raises `StoreInUse`, `StoreTooNew`.
    """
    directory = settings.data_dir / "gateway"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return await Accounts.open(
        directory / "gateway.db",
        _entries(settings),
        limits=LoginLimits(settings.login.idle_days, settings.login.max_days),
        clock=clock,
        logins_path=_logins_path(settings),
    )


def _standard_headers(watch: CertificateWatch) -> Callable[[str], list[Header]]:
    kinds = {strict: security_headers(policy=POLICY, strict_transport=strict) for strict in (True, False)}

    def standard(request_id: str) -> list[Header]:
        return [*kinds[not watch.certificate.self_signed], (b"x-request-id", request_id.encode())]

    return standard


def _entries(settings: Settings) -> list[UserEntry]:
    nothing = Secret("")
    return [
        UserEntry(
            name=user.username,
            role=user.role,
            disabled=user.disabled,
            password=user.password or nothing,
            password_hash=user.password_hash.reveal() if user.password_hash else "",
        )
        for user in settings.users
    ]


def _warn_of_shared_uid(settings: Settings) -> None:
    if len(settings.users) > 1:
        log.warning(
            "⚠️ Agents are separate processes but not walled off by the operating system yet: "
            f"all run as uid {os.getuid()}",
            event="isolation_reduced",
        )


def _present(settings: Settings) -> set[str]:
    return {user.username for user in settings.users if not user.disabled}


def _logins_path(settings: Settings) -> Path | None:
    if settings.sessions is None:
        return None
    settings.sessions.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings.sessions / "logins.db"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
