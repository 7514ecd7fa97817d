"""The matrix: every route, everybody who may knock, things of one's own, of others and of nobody.

What is expected follows from the route's row. A route without a row fails here; so does a row without a request.
"""

import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from tom.openapi.operations import GATEWAY, OPERATIONS, Dialect
from tom.policy.permissions import Scope

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P10")]

CASES = Path(__file__).parent / "cases"
REQUESTS = json.loads((CASES / "requests.json").read_text())
TOM = json.loads((CASES / "tom_routes.json").read_text())
INSIDE = {(row["method"], row["path"]) for row in json.loads((CASES / "agent_routes.json").read_text())}
"""What only an agent has, for its gateway and its operator: never passed on."""

LOGIN = "login"


@dataclass(frozen=True)
class Row:
    """A route, what it asks of its caller, a request for it, and what it answers about one's own things.

    One that is not ``harmless`` would end the logins with which the others are asked.
    """

    method: str
    path: str
    scope: str | None
    dialect: str
    body: object
    own: object
    harmless: bool = True
    instead: str | None = None
    also: str | None = None

    def admits(self, scopes):
        """Whether these scopes are enough."""
        held = {str(scope) for scope in scopes}
        return bool(held & {self.scope, self.instead}) and self.also in {None, *held}

    @property
    def parameters(self):
        return re.findall(r"\{([^}]+)\}", self.path)

    def __str__(self):
        return f"{self.method} {self.path}"


def rows():
    for one in (*OPERATIONS, *GATEWAY):
        request = REQUESTS[one.name]
        scope = LOGIN if one in GATEWAY else request.get("scope", one.scope and str(one.scope))
        ways = {name: str(getattr(one, name)) for name in ("instead", "also") if getattr(one, name) is not None}
        yield Row(one.method, one.path, scope, str(one.dialect), request.get("body"), request["own"], **ways)
    for one in TOM:
        more = one.get("dialect", "tom"), one.get("body"), one.get("own"), one.get("harmless", True)
        yield Row(one["method"], one["path"], one["scope"], *more)


ROWS = tuple(rows())
OWNED = frozenset({"session_id", "run_id", "approval_id", "elicitation_id", "file", "request_id", "id"})
"""Parameters that name something of somebody."""


def refusal(row, knocker):
    """(status, code) of the refusal that the row demands; None: it is let in."""
    if row.scope is None:
        return None
    if row.scope == str(Scope.ADMIN):
        if Scope.ADMIN in (knocker.scopes or ()):
            return None
        return (403, "scope_missing") if knocker.scopes is not None else (401, REFUSED_ADMIN[knocker.code])
    if knocker.scopes is None:
        return 401, knocker.code
    if row.scope == LOGIN:
        return None if knocker.login else (403, "scope_missing")
    return None if row.admits(knocker.scopes) else (403, "scope_missing")


REFUSED_ADMIN = {"authentication_required": "missing_admin_token", "invalid_token": "invalid_token"}


def own_statuses(row, knocker):
    own = row.own
    if isinstance(own, dict):
        own = own["admin" if Scope.ADMIN in knocker.scopes else ""]
    return own if isinstance(own, list) else [own]


def filled(row, values):
    return re.sub(r"\{([^}]+)\}", lambda found: values[found[1]], row.path)


def code_of(row, answer):
    """The code that an error tells; routes of Tom tell none."""
    return answer["error"]["code"] if row.dialect in {Dialect.CHAT, Dialect.OPENAI} else None


async def test_every_route_of_the_gateway_has_a_row_and_every_row_its_route(town):
    there = {(route.method, route.path.replace(":path}", "}")) for route in town.routes}
    told = {(row.method, row.path.replace(":path}", "}")) for row in ROWS}
    assert there - told == set(), "a route without a row: put it into operations.py or cases/tom_routes.json"
    assert told - there == set(), "a row without a route"


async def test_every_row_has_a_request():
    assert set(REQUESTS) == {row.name for row in (*OPERATIONS, *GATEWAY)}


async def test_every_route_of_an_agent_has_a_row(town):
    there = {
        (method, route.path.replace(":path}", "}"))
        for route in town.agents.apps["alice"]._router.routes
        for method in route.methods - {"HEAD"}
    }
    told = {(row.method, row.path) for row in ROWS}
    assert there - told - INSIDE == set()
    assert there | {("GET", "/metrics")} >= INSIDE


async def test_what_is_inside_an_agent_is_reached_by_nobody(town):
    for (method, path), knocker in product(INSIDE - {(row.method, row.path) for row in ROWS}, town.knockers.values()):
        status, _ = await town.said(knocker, method, path)
        assert status == 404, (method, path, knocker.name)


@pytest.mark.parametrize("row", [row for row in ROWS if row.harmless], ids=str)
async def test_who_may_is_let_in_and_who_may_not_learns_nothing(town, things, shared, row):
    for knocker in town.knockers.values():
        refused = refusal(row, knocker)
        mine = await things(knocker.user or "alice").make([name for name in row.parameters if name in OWNED])
        status, answer = await town.said(knocker, row.method, filled(row, mine | shared), row.body)
        if refused is None:
            assert status in (own_statuses(row, knocker) if knocker.scopes is not None else [*own_statuses(row, knocker), 401]), (
                knocker.name, answer)  # fmt: skip
            continue
        assert status == refused[0], (knocker.name, answer)
        assert code_of(row, answer) in {None, refused[1]}, (knocker.name, answer)


@pytest.mark.parametrize("row", [row for row in ROWS if OWNED & set(row.parameters)], ids=str)
async def test_what_belongs_to_others_is_answered_like_what_does_not_exist(town, things, nobodys, shared, row):
    named = [name for name in row.parameters if name in OWNED]
    for knocker in town.knockers.values():
        if knocker.scopes is None or refusal(row, knocker) is not None:
            continue
        owner = "bob" if knocker.user != "bob" else "alice"
        foreign = await things(owner).make(named)
        mine = await things(knocker.user).make(named)
        before, missing = await _told(town, owner), nobodys(named)
        for wrong in _combinations(named):
            theirs = {name: foreign[name] if name in wrong else mine[name] for name in named}
            nothing = {name: missing[name] if name in wrong else mine[name] for name in named}
            answers = [
                await town.ask(knocker.headers, row.method, filled(row, values | shared), row.body)
                for values in (theirs, nothing)
            ]
            shown = [(status, raw, _plain(headers)) for status, raw, headers in answers]
            assert shown[0] == shown[1], (knocker.name, wrong)
            assert shown[0][0] == (403 if row.scope == str(Scope.ADMIN) else 404), (knocker.name, shown[0])
        assert await _told(town, owner) == before, (knocker.name, "something of the other was touched")


def _combinations(named):
    """Which of the names are wrong: all, and each but the first alone."""
    return [set(named), *({name} for name in named[1:])]


def _plain(headers):
    return sorted((name.lower(), value) for name, value in headers.items() if name.lower() != "x-request-id")


async def _told(town, user):
    """Everything of a person: what is there, and how far it has come."""
    cell = town.agents.cells[user]
    rows = await cell.store.conversations(limit=1000)
    return sorted((one.id, one.last_seq, one.title) for one in rows), len(await cell.approvals.pending())
