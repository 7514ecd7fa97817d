"""The admin routes, health and figures of the gateway: for admins only, of the whole house, without waking anybody."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tom.agent.app import AgentApp
from tom.agent.bootstrap import build_cell
from tom.agent.identify import BehindGateway
from tom.archive.archive import SessionRecord
from tom.clock import SystemClock
from tom.config.document import decode_agent
from tom.gateway import adminhouse
from tom.spawner.memory import MemorySpawner
from tom.store.memory import MemoryEventStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOKEN = "t0p-secret-admin-token"
ADMIN = {"X-Admin-Token": TOKEN}
PEOPLE = [
    {"username": "root", "password": "correct horse battery", "role": "admin"},
    {"username": "alice", "password": "correct horse battery"},
    {"username": "bob", "password": "correct horse battery"},
]
ROUTES = [
    ("GET", "/admin/bypass"),
    ("POST", "/admin/bypass"),
    ("DELETE", "/admin/bypass/10.0.0.1"),
    ("GET", "/admin/runtime"),
    ("GET", "/admin/sessions"),
    ("GET", "/admin/sessions/s1/messages"),
    ("GET", "/admin/history/sessions"),
    ("GET", "/admin/history/sessions/s1/messages"),
    ("GET", "/admin/config"),
    ("PUT", "/admin/config"),
    ("POST", "/admin/restart"),
]


class RealAgents(MemorySpawner):
    """Agents that are what they are in a process, but in this one."""

    def __init__(self):
        super().__init__(self.make)
        self.by_user = {}
        self.cells = {}
        self.stopped = asyncio.Event()
        self.schedulers = []

    def make(self, spec):
        settings = decode_agent(spec.document)
        cell = build_cell(settings, MemoryEventStore(), SystemClock())
        cell.ready = True
        self.cells[spec.user] = cell
        self.schedulers.append(asyncio.ensure_future(cell.scheduler.serve(asyncio.Event(), self.stopped)))
        return AgentApp(cell, BehindGateway(settings.user, settings.agent_secret))


@pytest.fixture
def open_house(opened):
    """``async with open_house(token=…, **settings) as door``: a gateway with root (an admin), alice and bob."""

    @asynccontextmanager
    async def run(token=TOKEN, **settings):
        agents = RealAgents()
        async with opened(agents=agents, users=PEOPLE, admin_token=token, **settings) as door:
            try:
                yield door
            finally:
                for cell in agents.cells.values():
                    await cell.scheduler.drain(0, 2)
                agents.stopped.set()
                await asyncio.gather(*agents.schedulers)

    return run


async def ask(session, method, path, body=None, headers=None, **options):
    data = None if body is None else body if isinstance(body, str) else json.dumps(body)
    headers = dict(headers or {}) | ({"Content-Type": "application/json"} if data is not None else {})
    async with session.request(method, path, data=data, headers=headers, **options) as answer:
        text = await answer.text()
        assert answer.headers["X-Request-ID"]
        return answer.status, json.loads(text) if text else None


async def code(session, method, path, body=None, headers=None):
    status, told = await ask(session, method, path, body, headers)
    return status, told["error"]["code"] if told and isinstance(told.get("error"), dict) else told


async def rows(door):
    return [row.told() for row in await door.gateway._parts.house.chain.rows()]


# --- who is let in --------------------------------------------------------------------------------------------------


@pytest.mark.promise("P10")
async def test_only_admins_are_let_in(open_house):
    async with open_house() as door:
        stranger, alice = door.stranger(), await door.person("alice")
        for method, path in ROUTES:
            assert await code(stranger, method, path) == (401, "missing_admin_token")
            assert await code(alice, method, path) == (403, "scope_missing")
        assert await code(stranger, "GET", "/admin/runtime", headers={"X-Admin-Token": TOKEN + "x"}) == (
            401, "invalid_admin_token",
        )  # fmt: skip
        assert await code(alice, "GET", "/admin/runtime", headers={"X-Admin-Token": "wrong"}) == (
            401,
            "invalid_admin_token",
        )
        assert (await ask(stranger, "GET", "/admin/runtime", headers=ADMIN))[0] == 200
        assert (await ask(await door.person("root"), "GET", "/admin/runtime"))[0] == 200
        refused = [row["subject"] for row in await rows(door) if row["kind"] == "admin.refused"]
        assert refused == ["X-Admin-Token absent", "X-Admin-Token", "X-Admin-Token"], (
            "one a minute of those that show none"
        )
        assert door.agents.cells == {}  # nobody was woken


async def test_whoever_guesses_too_often_is_still_told_that_the_house_lives(open_house):
    async with open_house() as door:
        stranger = door.stranger()
        for _ in range(7):
            status, told = (await ask(stranger, "GET", "/health", headers={"X-Admin-Token": "wrong"}))[:2]
            assert (status, told["status"], "details" in told) == (200, "ok", False)


async def test_without_an_admin_token_only_an_admin_of_the_house_is_let_in(open_house):
    async with open_house(token="") as door:
        for session in (door.stranger(), await door.person("alice")):
            for method, path in ROUTES:
                assert await code(session, method, path) == (503, "admin_disabled")
                assert await code(session, method, path, headers=ADMIN) == (503, "admin_disabled")
        root = await door.person("root")
        assert (await ask(root, "GET", "/admin/bypass"))[:2] == (200, [])


async def test_five_wrong_tokens_a_minute_are_enough_also_from_a_bypassed_address(open_house):
    async with open_house() as door:
        stranger = door.stranger()
        assert (await ask(stranger, "POST", "/admin/bypass", {"ip": "127.0.0.1"}, ADMIN))[0] == 201
        wrong = {"X-Admin-Token": "guess"}
        for _ in range(5):
            assert await code(stranger, "GET", "/admin/runtime", headers=wrong) == (401, "invalid_admin_token")
        async with stranger.get("/admin/runtime", headers=wrong) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await answer.json())["error"] == "rate_limited"


async def test_a_page_elsewhere_cannot_use_an_admins_cookie(open_house):
    async with open_house() as door:
        cookie = await door.log_in("root")
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
            session = door.stranger(Cookie=f"__Host-tom={cookie}", **headers)
            assert await code(session, "POST", "/admin/bypass", {"ip": "10.0.0.1"}) == (403, "origin_not_allowed")
        assert (await ask(door.stranger(), "GET", "/admin/bypass", headers=ADMIN))[1] == []


# --- what is done ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("P21")
async def test_every_change_is_recorded_with_who_and_from_where(open_house):
    async with open_house() as door:
        root, stranger = await door.person("root"), door.stranger()
        assert (await ask(root, "POST", "/admin/bypass", {"ip": "10.0.0.5", "note": "office"})) == (
            201,
            {"ip": "10.0.0.5"},
        )
        assert (await ask(root, "POST", "/admin/bypass", {"ip": "10.0.0.5"}))[0] == 200
        assert (await ask(stranger, "DELETE", "/admin/bypass/10.0.0.5", headers=ADMIN)) == (204, None)
        status, told = await ask(root, "PUT", "/admin/config", {"field": "memory_max", "value": 60})
        assert (status, told["value"], told["before"]) == (200, 60, 50)
        told = [row for row in await rows(door) if row["kind"].split(".")[0] in {"bypass", "config"}]
        assert (await door.gateway._parts.house.chain.verify()).ok
    assert [(row["kind"], row["who"], row["source"], row["subject"]) for row in told] == [
        ("bypass.added", "root", "127.0.0.1", "10.0.0.5"),
        ("bypass.added", "root", "127.0.0.1", "10.0.0.5"),
        ("bypass.removed", "admin token", "127.0.0.1", "10.0.0.5"),
        ("config.changed", "root", "127.0.0.1", "memory_max"),
    ]
    assert (told[3]["before"], told[3]["after"]) == (50, 60)


async def test_a_limit_reaches_agents_that_run_and_those_that_start_later(open_house):
    async with open_house() as door:
        alice = await door.person("alice")
        assert (await ask(alice, "GET", "/tasks"))[0] == 200
        body = {"field": "rate_rps", "value": 777}
        assert (await ask(door.stranger(), "PUT", "/admin/config", body, ADMIN))[0] == 200
        assert door.agents.cells["alice"].rates.settings.rps == 777
        assert door.gateway.rates.settings.rps == 777
        await ask(await door.person("bob"), "GET", "/tasks")
        assert door.agents.cells["bob"].rates.settings.rps == 777
        shown = (await ask(door.stranger(), "GET", "/admin/config", headers=ADMIN))[1]
        assert shown["rate_rps"] == {"value": 777.0, "source": "admin (until restart)"}
        assert shown["admin_token"]["value"] == "***"
        assert TOKEN not in json.dumps(shown)


async def test_sessions_come_from_the_agents_that_run_and_the_others_sleep_on(open_house):
    async with open_house() as door:
        for name in ("alice", "bob"):
            person = await door.person(name)
            for _ in range(2):
                assert (await ask(person, "POST", "/sessions", {"metadata": {"of": name}}))[0] == 201
        told = (await ask(door.stranger(), "GET", "/admin/sessions?limit=3", headers=ADMIN))[1]
        assert (told["count"], told["limit"], told["offset"], told["asleep"]) == (3, 3, 0, ["root"])
        rest = (await ask(door.stranger(), "GET", "/admin/sessions?limit=3&offset=3", headers=ADMIN))[1]
        assert rest["count"] == 1
        found = [*told["sessions"], *rest["sessions"]]
        assert sorted(one["user"] for one in found) == ["alice", "alice", "bob", "bob"]
        times = [one["updated_at"] for one in found]
        assert times == sorted(times, reverse=True)
        for path in (f"/admin/sessions/{found[0]['id']}/messages", "/admin/history/sessions/x/messages"):
            assert await code(door.stranger(), "GET", path, headers=ADMIN) == (403, "private_conversations")


async def test_what_is_mirrored_of_everybody_is_one_list(open_house, monkeypatch):
    class Shelf:
        def __init__(self, user):
            self.user = user

        async def sessions(self, *, limit, offset, since=None, until=None):
            day = len(self.user)
            row = SessionRecord(f"of-{self.user}", None, f"2026-03-0{day}T12:00:00.000Z")
            return (row,), 1

        async def close(self):
            pass

    monkeypatch.setattr(adminhouse, "open_archive", lambda settings, user, clock, redis=None: Shelf(user))
    archive = {"history_storage_backend": "redis", "history_redis_url": "redis://127.0.0.1:1"}
    async with open_house() as door:
        told = (await ask(door.stranger(), "GET", "/admin/history/sessions", headers=ADMIN))[1]
        assert told == {"sessions": [], "limit": 50, "offset": 0, "count": 0, "total": 0}
    async with open_house(**archive) as door:
        told = (await ask(door.stranger(), "GET", "/admin/history/sessions?limit=2", headers=ADMIN))[1]
        assert [one["user"] for one in told["sessions"]] == ["alice", "root"]
        assert (told["count"], told["total"]) == (2, 3)
        assert door.agents.cells == {}


async def test_a_restart_is_for_whoever_is_supervised(open_house):
    async with open_house() as door:
        assert await code(door.stranger(), "POST", "/admin/restart", headers=ADMIN) == (409, "not_supervised")
        assert not door.gateway.restarting
    settings = {"supervised": True}
    async with open_house(**{"global": settings}) as door:
        assert (await ask(door.stranger(), "POST", "/admin/restart", headers=ADMIN))[0] == 202
        assert door.gateway.restarting


async def test_runtime_tells_of_the_house(open_house):
    async with open_house() as door:
        await ask(await door.person("alice"), "GET", "/tasks")
        told = (await ask(door.stranger(), "GET", "/admin/runtime", headers=ADMIN))[1]
    assert told["provider"]["llm_provider"] == "scripted"
    assert told["memory"] == {"backend": "sqlite", "default_limit": 10, "max_limit": 50}
    assert told["rate_limit"]["backend"] == "local"
    assert told["history"]["enabled"] is False


# --- logins ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P21")
async def test_logins_logouts_and_failures_are_recorded_without_a_password(open_house):
    async with open_house() as door:
        alice = await door.person("alice")
        async with alice.post("/logout", json={}):
            pass
        async with door.stranger().post("/login", json={"username": "bob", "password": "not his password"}) as answer:
            assert answer.status == 401
        told = await rows(door)
    assert [(row["kind"], row["who"], row["source"]) for row in told] == [
        ("login", "alice", "127.0.0.1"), ("logout", "alice", "127.0.0.1"), ("login.failed", "bob", "127.0.0.1"),
    ]  # fmt: skip
    assert "not his password" not in json.dumps(told)


# --- figures --------------------------------------------------------------------------------------------------------


async def chat(door, name, text="hello"):
    cookie = await door.log_in(name)
    async with door.socket(cookie) as chat:
        await chat.send(json.dumps({"action": "chat", "request_id": "r", "payload": {"text": text}}))
        while json.loads(await chat.recv())["status"] not in {"accepted", "error"}:
            pass


async def test_figures_are_those_of_the_whole_house_and_never_go_back(open_house, until):
    async with open_house() as door:
        alice, stranger = await door.person("alice"), door.stranger()
        for path in ("/health", "/health/ready", "/admin/bypass", "/static/x", "/tasks"):
            await ask(alice, "GET", path, headers=ADMIN) if path != "/static/x" else None
        assert (await ask(alice, "POST", "/sessions", {}))[0] == 201
        assert (await ask(alice, "POST", "/sessions", {"memory_limit": 0}))[0] == 422
        assert (await ask(stranger, "POST", "/sessions", {}))[0] == 401
        await chat(door, "alice")
        told = (await ask(stranger, "GET", "/metrics", headers=ADMIN))[1]
        assert told["requests_by_method"] == {"POST": 3, "WS": 1}
        assert told["responses_by_status"] == {"201": 1, "401": 1, "422": 1}
        first = told["requests_total"]
        await door.gateway._parts.pool.drop("alice")
        await until(lambda: not door.gateway._parts.pool.agents())
        assert (await ask(stranger, "GET", "/metrics", headers=ADMIN))[1]["requests_total"] == first
        await chat(door, "alice")  # another start of the same agent
        told = (await ask(stranger, "GET", "/metrics", headers=ADMIN))[1]
        assert told["requests_by_method"] == {"POST": 3, "WS": 2}
        assert (await ask(stranger, "GET", "/health"))[1]["requests_total"] == told["requests_total"]


async def test_what_is_refused_before_it_is_routed_counts_like_every_other_refusal(open_house):
    async with open_house() as door:
        stranger = door.stranger()
        assert (await ask(stranger, "POST", "/sessions", {}, headers={"Host": "elsewhere.example"}))[0] == 421
        assert (await ask(stranger, "POST", "/sessions", {}))[0] == 401
        assert (await ask(stranger, "POST", "/nothing", {}, headers={"Host": "elsewhere.example"}))[0] == 421
        told = (await ask(stranger, "GET", "/metrics", headers=ADMIN))[1]
    assert (told["requests_total"], told["responses_by_status"]) == (2, {"401": 1, "421": 1})


async def test_a_failed_run_is_one_error_whoever_tells_of_it(open_house):
    async with open_house(**{"global": {"llm": "unconfigured"}}) as door:
        alice = await door.person("alice")
        opened = (await ask(alice, "POST", "/sessions", {}))[1]
        for _ in range(2):
            body = {"content": "hello", "request_id": "r1"}  # the second is a repetition: an answer of its own
            assert (await ask(alice, "POST", f"/sessions/{opened['id']}/messages", body))[0] == 502
        told = (await ask(door.stranger(), "GET", "/metrics", headers=ADMIN))[1]
        assert (told["errors_total"], told["responses_by_status"]) == (2, {"201": 1, "502": 2})


async def test_figures_need_the_admin_token_unless_they_are_public(open_house):
    async with open_house() as door:
        assert await code(door.stranger(), "GET", "/metrics") == (401, "missing_admin_token")
        assert await code(await door.person("alice"), "GET", "/metrics") == (403, "scope_missing")
        assert await code(door.stranger(), "GET", "/metrics?format=xml", headers=ADMIN) == (400, "invalid_format")
        async with door.stranger().get("/metrics", headers=ADMIN | {"Accept": "text/plain"}) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "Access-Control-Allow-Origin" not in answer.headers
            text = await answer.text()
    labels = {name for family in text_string_to_metric_families(text) for one in family.samples for name in one.labels}
    assert labels <= {"method", "route", "status", "state", "kind", "service", "outcome", "code", "le"}
    async with open_house(metrics={"public": True}) as door:
        assert (await ask(door.stranger(), "GET", "/metrics"))[0] == 200


async def test_switched_off_there_is_no_route_and_nothing_counts(open_house, monkeypatch):
    def refuse(*_):
        raise AssertionError("a counter was made")

    monkeypatch.setattr("tom.telemetry.metrics.Metrics.__init__", refuse)
    async with open_house(metrics_enabled=False) as door:
        assert await code(door.stranger(), "GET", "/metrics", headers=ADMIN) == (404, "not_found")
        assert (await ask(await door.person("alice"), "POST", "/sessions", {}))[0] == 201
        assert (await ask(door.stranger(), "GET", "/health"))[1]["requests_total"] == 0


async def test_health_tells_admins_of_each_part(open_house):
    async with open_house() as door:
        await ask(await door.person("alice"), "GET", "/tasks")
        told = (await ask(door.stranger(), "GET", "/health"))[1]
        assert set(told) == {
            "status",
            "uptime_seconds",
            "requests_total",
            "responses_total",
            "errors_total",
            "tls",
            "agents",
        }
        assert "details" not in (await ask(door.stranger(), "GET", "/health", headers={"X-Admin-Token": "wrong"}))[1]
        details = (await ask(door.stranger(), "GET", "/health", headers=ADMIN))[1]["details"]
        assert set(details) == {"store", "scheduler", "archive", "redis", "services", "tls", "agents"}
        assert list(details["services"]) == ["alice"]


async def test_an_agent_that_cannot_tell_its_numbers_is_left_out(open_house):
    async with open_house() as door:
        await ask(await door.person("alice"), "GET", "/tasks")
        cell = door.agents.cells["alice"]

        def hang():
            raise RuntimeError("the agent's own trouble")

        cell.archive_lag = hang
        timeout = aiohttp.ClientTimeout(total=8)
        assert (await ask(door.stranger(), "GET", "/metrics", headers=ADMIN, timeout=timeout))[0] == 200
