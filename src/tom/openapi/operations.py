"""Every operation of the chat door: one row each. Gateway, agent, OpenAPI document and access matrix read it.

A further operation costs a row here and an endpoint in `tom.agent` (or, for those of the house, in both programs).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tom.policy.permissions import Scope

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

    ``scope`` None: open to everybody. ``limit`` is the largest body in bytes. ``house``: answered by the program that is
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


_CHAT, _READ, _OPENAI, _ADMIN = Scope.CHAT, Scope.READ, Scope.OPENAI, Scope.ADMIN
_W, _R = Rate.WRITE, Rate.READ
_O = Dialect.OPENAI
_WITH_ATTACHMENTS: Final = 24 * MIB

SESSIONS: Final = (
    Operation("POST", "/sessions", "createSession", _CHAT, _W, MIB, counted=True),
    Operation("GET", "/sessions", "listSessions", _READ, _R),
    Operation("POST", "/sessions/import", "importSession", _READ, _W, _WITH_ATTACHMENTS),
    Operation("GET", "/sessions/{session_id}", "getSession", _CHAT, _R),
    Operation("PATCH", "/sessions/{session_id}", "changeSession", _CHAT, _W, MIB),
    Operation("DELETE", "/sessions/{session_id}", "deleteSession", _CHAT, _W),
    Operation("POST", "/sessions/{session_id}/messages", "sendMessage", _CHAT, _W, _WITH_ATTACHMENTS, counted=True),
    Operation("GET", "/sessions/{session_id}/events", "listEvents", _CHAT, _R),
    Operation("POST", "/sessions/{session_id}/stop", "stopRun", _CHAT),
    Operation("POST", "/sessions/{session_id}/runs/{run_id}/retry", "retryRun", _CHAT, _W, counted=True),
    Operation("GET", "/sessions/{session_id}/export", "exportSession", _CHAT, _R),
    Operation("GET", "/sessions/{session_id}/files/{file}", "getFile", _CHAT, _R),
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


def operation(method: str, path: str) -> Operation:
    """The operation of a route, by its template. KeyError for what is not in the table."""
    return _BY_ROUTE["GET" if method == "HEAD" else method, path]


_BY_ROUTE: Final = {(one.method, one.path): one for one in OPERATIONS}
