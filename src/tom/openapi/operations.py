"""Every operation of the chat door: one row each. Gateway, agent, OpenAPI document and access matrix read it.

A further operation costs a row here and an endpoint in `tom.agent` (or, for those of the house, in both programs).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tom.policy.permissions import Caller, Scope, require_way

KIB: Final = 1024
MIB: Final = 1_048_576


class Rate(StrEnum):
    """In which bucket an operation counts."""

    WRITE = "write"
    READ = "read"
    NONE = "none"


class Dialect(StrEnum):
    """How its errors are worded."""

    CHAT = "chat"
    OPENAI = "openai"
    TOM = "tom"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    ``scope`` None: open to everybody. ``instead``: a scope that lets in, too; ``also``: one that is needed besides. ``limit`` is the largest body in bytes. ``house``: answered by the program that is
    the door (the gateway, or an agent alone), never passed on. ``counted``: one of the requests that ``GET /health`` and
    ``/metrics`` count.
    """

    method: str
    path: str
    name: str
    scope: Scope | None
    rate: Rate = Rate.NONE
    limit: int = 64 * KIB
    dialect: Dialect = Dialect.CHAT
    house: bool = False
    counted: bool = False
    instead: Scope | None = None
    also: Scope | None = None

    def admit(self, caller: Caller) -> None:
        """Let the caller pass, or raise as `require` does: what is missing is named."""
        require_way(caller, self.scope, self.instead, self.also)

    @property
    def alternatives(self) -> tuple[tuple[Scope, ...], ...]:
        """The sets of scopes of which a caller needs one; empty: it is open to everybody."""
        if self.scope is None:
            return ()
        beside = () if self.also is None else (self.also,)
        ways = (self.scope,) if self.instead is None else (self.scope, self.instead)
        return tuple((way, *beside) for way in ways)


_CHAT, _READ, _OPENAI, _ADMIN = Scope.CHAT, Scope.READ, Scope.OPENAI, Scope.ADMIN
_W, _R = Rate.WRITE, Rate.READ
_O = Dialect.OPENAI
_WITH_ATTACHMENTS: Final = 24 * MIB

SESSIONS: Final = (
    Operation("POST", "/sessions", "createSession", _CHAT, _W, MIB, counted=True),
    Operation("GET", "/sessions", "listSessions", _READ, _R),
    Operation("POST", "/sessions/import", "importSession", _CHAT, _W, _WITH_ATTACHMENTS, also=_READ),
    Operation("GET", "/sessions/{session_id}", "getSession", _CHAT, _R, instead=_READ),
    Operation("PATCH", "/sessions/{session_id}", "changeSession", _CHAT, _W, MIB),
    Operation("DELETE", "/sessions/{session_id}", "deleteSession", _CHAT, _W),
    Operation("POST", "/sessions/{session_id}/messages", "sendMessage", _CHAT, _W, _WITH_ATTACHMENTS, counted=True),
    Operation("GET", "/sessions/{session_id}/events", "listEvents", _CHAT, _R, instead=_READ),
    Operation("POST", "/sessions/{session_id}/stop", "stopRun", _CHAT),
    Operation("POST", "/sessions/{session_id}/runs/{run_id}/retry", "retryRun", _CHAT, _W, counted=True),
    Operation("GET", "/sessions/{session_id}/export", "exportSession", _CHAT, _R, instead=_READ),
    Operation("GET", "/sessions/{session_id}/files/{file}", "getFile", _CHAT, _R, instead=_READ),
)
ASKS: Final = (
    Operation("GET", "/approvals", "listApprovals", _READ, _R),
    Operation("POST", "/approvals/{approval_id}", "answerApproval", _CHAT, _W, MIB),
    Operation("GET", "/elicitations", "listElicitations", _READ, _R),
    Operation("POST", "/elicitations/{elicitation_id}", "answerElicitation", _CHAT, _W, MIB),
)
OWN: Final = (
    Operation("GET", "/prompts", "listPrompts", _READ, _R),
    Operation("GET", "/resources", "listResources", _READ, _R),
    Operation("GET", "/usage", "getUsage", _READ, _R),
    Operation("GET", "/services", "listServices", _READ, _R),
    Operation("GET", "/services/{name}/diff", "diffService", _READ, _R),
    Operation("POST", "/services/{name}/review", "reviewService", _CHAT, _W),
)
OPENAI: Final = (
    Operation("GET", "/v1/models", "listModels", _OPENAI, _R, dialect=_O),
    Operation("GET", "/v1/models/{model}", "getModel", _OPENAI, _R, dialect=_O),
    Operation("POST", "/v1/chat/completions", "createChatCompletion", _OPENAI, _W, _WITH_ATTACHMENTS, _O, counted=True),
)
HOUSE: Final = (
    Operation("POST", "/ws/ticket", "createTicket", _CHAT, _W, house=True),
    Operation("GET", "/health", "getHealth", None, house=True),
    Operation("GET", "/health/ready", "getReadiness", None, house=True),
    Operation("GET", "/metrics", "getMetrics", None, house=True),
    Operation("GET", "/openapi.json", "getDocument", None, house=True),
    Operation("GET", "/docs", "getDocumentation", None, house=True),
    Operation("GET", "/admin/bypass", "listBypass", _ADMIN, house=True),
    Operation("POST", "/admin/bypass", "addBypass", _ADMIN, house=True),
    Operation("DELETE", "/admin/bypass/{ip}", "removeBypass", _ADMIN, house=True),
    Operation("GET", "/admin/runtime", "getRuntime", _ADMIN, house=True),
    Operation("GET", "/admin/sessions", "listAllSessions", _ADMIN, house=True),
    Operation("GET", "/admin/sessions/{session_id}/messages", "listSessionMessages", _ADMIN, house=True),
    Operation("GET", "/admin/history/sessions", "listArchivedSessions", _ADMIN, house=True),
    Operation("GET", "/admin/history/sessions/{session_id}/messages", "listArchivedMessages", _ADMIN, house=True),
    Operation("GET", "/admin/config", "getConfig", _ADMIN, house=True),
    Operation("PUT", "/admin/config", "changeConfig", _ADMIN, house=True),
    Operation("POST", "/admin/restart", "restart", _ADMIN, house=True),
)
OPERATIONS: Final = (*SESSIONS, *ASKS, *OWN, *OPENAI, *HOUSE)
"""All of them; paths with fixed words stand before those with parameters that would match them."""

GATEWAY: Final = (
    Operation("GET", "/tokens", "listTokens", _CHAT, dialect=Dialect.TOM, house=True),
    Operation("POST", "/tokens", "createToken", _CHAT, dialect=Dialect.TOM, house=True),
    Operation("DELETE", "/tokens/{id}", "deleteToken", _CHAT, dialect=Dialect.TOM, house=True),
)
"""What only the gateway has, and only for a login: they are documented, and an agent alone answers 404."""


def first_of(path: str) -> str:
    """The first part of a path, by which the doors tell what it leads to."""
    return path.removeprefix("/").partition("/")[0]


def operation(method: str, path: str) -> Operation:
    """The operation of a route, by its template. KeyError for what is not in the table."""
    return _BY_ROUTE["GET" if method == "HEAD" else method, path]


_BY_ROUTE: Final = {(one.method, one.path): one for one in OPERATIONS}
