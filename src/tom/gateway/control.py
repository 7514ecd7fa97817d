"""``<data>/gateway/control.sock``: the command line's way into a running gateway. The file's mode is its lock.

| request | body | answer |
|---|---|---|
| ``GET /health`` | | what ``/health/ready`` says, the addresses, the certificate's fingerprint |
| ``GET /agents`` | | ``{"agents": [{"user", "pid"}]}`` |
| ``GET /users`` | | ``{"users": [{"user", "role", "logins"}]}`` |
| ``POST /users/{user}/password`` | ``{"password"}`` | 200; the user's logins have ended |
| ``GET /users/{user}/tokens`` | | ``{"tokens": [{"id", "name", "scopes", "created_at", "expires_at", "last_used_at"}]}`` |
| ``POST /users/{user}/tokens`` | ``{"name", "scopes", "expires_in_days"}`` | ``{"id", "token"}``, told this once |
| ``DELETE /users/{user}/tokens/{id}`` | | 200; what was open under it is closed |
| ``POST /agents/{user}/request`` | ``{"method", "path", "body"?}`` | ``{"status", "body"}``: what their agent answers |
| ``GET /audit`` | | ``{"entries"}``: the newest, or with ``?after=`` those behind; ``?limit=`` |
| ``GET /audit/verify`` | | whether the record is as it was written, and where not |
| ``POST /reload`` | | 200 when config.yml was read again and is in force, else 409 with what is wrong |
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec

from tom.accounts.accounts import Accounts
from tom.accounts.refusals import UnknownUser
from tom.accounts.tokens import DEFAULT_DAYS, read_wish
from tom.audit.chain import OPERATOR, Chain
from tom.audit.telling import told_record
from tom.errors import NotFoundHere, TomError
from tom.gateway.agentask import DOOR, AgentAsk, UserDisabled
from tom.gateway.jsonbody import json_object
from tom.gateway.pool import Pool
from tom.gateway.refusals import BadRequest
from tom.gateway.request import Receive, Request, Scope, Send, join_headers, json_reply
from tom.telemetry import logs

log = logs.get("gateway")

SOCKET: Final = "control.sock"
_LIMIT: Final = 65_536
_LARGEST_ERRAND: Final = 1_114_112

type Answer = Mapping[str, Any]


class Control:
    """An ASGI application for one Unix socket."""

    def __init__(
        self,
        accounts: Accounts,
        pool: Pool,
        *,
        secret_of: Callable[[str], str],
        describe: Callable[[], Answer],
        reload: Callable[[], Awaitable[None]],
        chain: Chain,
    ) -> None:
        """``describe`` tells how the gateway is; ``reload`` reads config.yml again, or raises `TomError`.

        ``secret_of``: the secret of a user's agent; ``chain`` is the record.
        """
        self._chain = chain
        self._accounts = accounts
        self._pool = pool
        self._agents = AgentAsk(pool, secret_of)
        self._describe = describe
        self._reload = reload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send, join_headers(scope["headers"]))
        try:
            reply = json_reply(await self._answer(request))
        except TomError as error:
            body = {"status": "ERROR", "code": error.code, "message": error.message}
            reply = json_reply(body, error.http_status)
        except Exception as error:  # noqa: BLE001 - the command line is told that it failed
            log.error("❌ A control request failed", event="request_failed", error=error)
            reply = json_reply({"status": "ERROR", "code": "internal_error", "message": "Internal error"}, 500)
        await request.answer(reply)

    async def _answer(self, request: Request) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["health" | "agents" | "users" as what]:
                return self._look(what)
            case _, ["users", user, *rest]:
                return await self._of_user(request, unquote(user), rest)
            case "POST", ["agents", user, "request"]:
                return await self._agents.ask(self._known(unquote(user)), await request.body(_LARGEST_ERRAND))
            case "GET", ["audit", *rest]:
                return await told_record(self._chain, rest, request.query)
            case "POST", ["reload"]:
                await self._reload()
                await self._chain.note("configuration.reloaded", who=OPERATOR, source=DOOR)
                return {"status": "OK"}
            case _:
                raise NotFoundHere

    def _look(self, what: str) -> Answer:
        if what == "health":
            return self._describe()
        if what == "users":
            return {"users": self._accounts.overview()}
        return {"agents": [{"user": agent.user, "pid": agent.pid} for agent in self._pool.agents()]}

    async def _of_user(self, request: Request, user: str, rest: list[str]) -> Answer:
        if rest[:1] == ["tokens"]:
            return await self._tokens(request, self._known(user), rest[1:])
        if (request.method, rest) != ("POST", ["password"]):
            raise NotFoundHere
        await self._accounts.set_password(user, await _password(request))
        await self._chain.note("password.set", who=OPERATOR, source=DOOR, subject=user)
        return {"status": "OK"}

    async def _tokens(self, request: Request, user: str, rest: list[str]) -> Answer:
        match request.method, rest:
            case "GET", []:
                return {"tokens": [token.as_json() for token in self._accounts.tokens.list(user)]}
            case "POST", []:
                body = await json_object(request)
                days = body.get("expires_in_days", DEFAULT_DAYS)
                admin = self._accounts.role(user) == "admin"
                wish = read_wish(body.get("name"), body.get("scopes"), days, admin=admin)
                token, text = await self._accounts.tokens.create(user, wish)
                log.info(f"🔑 Token '{token.id}' of '{user}' created", event="token_created", token=token.id)
                await self._chain.note(
                    "token.created", who=OPERATOR, source=DOOR, subject=token.id, after=token.as_json()
                )
                return {"id": token.id, "token": text}
            case "DELETE", [identifier]:
                token = await self._accounts.tokens.revoke(user, unquote(identifier))
                log.info(f"🔑 Token '{token.id}' of '{user}' revoked", event="token_revoked", token=token.id)
                await self._chain.note("token.revoked", who=OPERATOR, source=DOOR, subject=token.id)
                return {"status": "OK", "id": token.id}
            case _:
                raise NotFoundHere

    def _known(self, user: str) -> str:
        """The user's name as it is configured. Raises `UnknownUser`, `UserDisabled`."""
        for one in self._accounts.overview():
            if one["user"] == user.lower():
                if one["disabled"]:
                    raise UserDisabled
                return one["user"]
        raise UnknownUser


async def _password(request: Request) -> str:
    try:
        body = msgspec.json.decode(await request.body(_LIMIT))
    except msgspec.DecodeError as error:
        raise BadRequest from error
    password = cast("dict[str, Any]", body).get("password") if isinstance(body, dict) else None
    if not isinstance(password, str):
        raise BadRequest("Missing 'password'")
    return password
