"""The admin routes of an agent alone: who is let in, what is done, what is told, and what is recorded of it."""

import json

import pytest

from tom.telemetry import logs

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOKEN = "t0p-secret-admin-token"
ADMIN = {"X-Admin-Token": TOKEN}

# --- who is let in --------------------------------------------------------------------------------------------------

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


async def test_without_an_admin_token_every_admin_route_is_off(open_house):
    async with open_house("  ") as house:
        for method, path in ROUTES:
            assert await house.code(method, path) == (503, "admin_disabled")
            assert await house.code(method, path, headers={}) == (503, "admin_disabled")


async def test_nobody_is_let_in_without_the_token(open_house):
    async with open_house() as house:
        for method, path in ROUTES:
            assert await house.code(method, path, headers={}) == (401, "missing_admin_token")
        assert await house.code("GET", "/admin/bypass", headers={"X-Admin-Token": TOKEN[:-1]}) == (
            401,
            "invalid_admin_token",
        )
        assert await house.code("GET", "/admin/nothing") == (404, "not_found")
        rows = await house.admin.chain.rows()
    assert [(row.kind, row.subject) for row in rows] == [
        ("admin.refused", "X-Admin-Token absent"), ("admin.refused", "X-Admin-Token"),
    ], "one a minute of those that show none"  # fmt: skip


@pytest.mark.promise("P21")
async def test_wrong_tokens_are_recorded_and_five_a_minute_are_enough(open_house):
    async with open_house() as house:
        wrong = {"X-Admin-Token": "guess"}
        for _ in range(5):
            assert await house.code("GET", "/admin/runtime", headers=wrong) == (401, "invalid_admin_token")
        status, told, headers = await house.ask("GET", "/admin/runtime", headers=wrong)
        assert (status, told["error"]) == (429, "rate_limited")
        assert int(headers["Retry-After"]) >= 1
        assert (await house.ask("GET", "/admin/runtime"))[0] == 429  # a right guess among them is not told apart
        status, told, _ = await house.ask("GET", "/health", headers=wrong)
        assert (status, told["status"], "details" in told) == (200, "ok", False), "it lives, whoever asks"
        rows = await house.admin.chain.rows()
    assert [row.kind for row in rows] == ["admin.refused"] * 6
    assert [row.subject for row in rows] == ["X-Admin-Token"] * 5 + ["X-Admin-Token shown too often"]
    assert {row.source for row in rows} == {"127.0.0.1"}
    assert not any("guess" in json.dumps(row.told()) for row in rows)


async def test_many_admin_requests_are_no_guesses(open_house):
    async with open_house() as house:
        for _ in range(20):
            assert (await house.ask("GET", "/admin/bypass"))[0] == 200


# --- the bypass list ------------------------------------------------------------------------------------------------

REFUSED_BYPASS = [
    ({}, 422, "validation_error"),
    ({"ip": 5}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "more": 1}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "note": "x" * 201}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "note": 1}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "expires_at": "tomorrow"}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "expires_at": 5}, 422, "validation_error"),
    ({"ip": "10.0.0.1", "expires_at": "2020-01-01T00:00:00Z"}, 422, "validation_error"),
    ({"ip": "10.0.0.256"}, 400, "invalid_ip"),
    ({"ip": ""}, 400, "invalid_ip"),
    ({"ip": "10.0.0.0/8"}, 400, "network_too_wide"),
    ({"ip": "2001:db8::/32"}, 400, "network_too_wide"),
    ("[]", 400, "invalid_json"),
    ("{", 400, "invalid_json"),
]


async def test_what_is_no_address_is_not_put_on_the_list(open_house):
    async with open_house() as house:
        for body, status, wanted in REFUSED_BYPASS:
            assert await house.code("POST", "/admin/bypass", body) == (status, wanted), body
        assert (await house.ask("GET", "/admin/bypass"))[1] == []


async def test_the_bypass_list_is_kept_recorded_and_used(open_house):
    async with open_house() as house:
        assert (await house.ask("POST", "/admin/bypass", {"ip": "::ffff:10.0.0.5", "note": "the office"}))[:2] == (
            201,
            {"ip": "10.0.0.5"},
        )
        assert (await house.ask("POST", "/admin/bypass", {"ip": "10.0.0.5"}))[:2] == (200, {"ip": "10.0.0.5"})
        assert (await house.ask("POST", "/admin/bypass", {"ip": "10.1.0.0/16", "expires_at": "2999-01-01T00:00:00Z"}))[
            0
        ] == 201
        assert (await house.ask("POST", "/admin/bypass", {"ip": "2.0.0.1"}))[0] == 201
        assert (await house.ask("GET", "/admin/bypass"))[1] == ["2.0.0.1", "10.0.0.5", "10.1.0.0/16"]
        details = (await house.ask("GET", "/admin/bypass?details=true"))[1]
        assert set(details[0]) == {"ip", "note", "created_at", "expires_at"}
        assert details[2]["expires_at"] == "2999-01-01T00:00:00.000Z"
        assert house.cell.rates.bypassed("10.1.2.3")
        assert (await house.ask("DELETE", "/admin/bypass/10.1.0.0%2F16"))[:2] == (204, None)
        assert await house.code("DELETE", "/admin/bypass/10.1.0.0/16") == (404, "bypass_not_found")
        assert await house.code("DELETE", "/admin/bypass/x") == (400, "invalid_ip")
        assert await house.code("GET", "/admin/bypass?details=maybe") == (422, "validation_error")
    async with open_house() as house:
        assert (await house.ask("GET", "/admin/bypass"))[1] == ["2.0.0.1", "10.0.0.5"]
        told = [row.told() for row in await house.admin.chain.rows()]
        assert (await house.admin.chain.verify()).ok
    assert [(row["kind"], row["subject"]) for row in told] == [
        ("bypass.added", "10.0.0.5"), ("bypass.added", "10.0.0.5"), ("bypass.added", "10.1.0.0/16"),
        ("bypass.added", "2.0.0.1"), ("bypass.removed", "10.1.0.0/16"),
    ]  # fmt: skip
    assert told[0]["before"] is None
    assert told[1]["before"]["note"] == "the office"
    assert told[1]["after"]["note"] is None
    assert {(row["who"], row["source"]) for row in told} == {("admin token", "127.0.0.1")}


async def test_a_page_elsewhere_changes_nothing(open_house):
    async with open_house() as house:
        headers = ADMIN | {"Origin": "https://evil.example"}
        assert await house.code("POST", "/admin/bypass", {"ip": "10.0.0.1"}, headers) == (403, "origin_not_allowed")
        assert (await house.ask("GET", "/admin/bypass"))[1] == []


async def test_a_body_that_is_no_json_is_refused(open_house):
    async with open_house() as house, house.http.post("/admin/bypass", data="ip=1", headers=ADMIN) as answer:
        assert answer.status == 415


# --- what is going on -----------------------------------------------------------------------------------------------


async def test_runtime_tells_what_is_at_work(open_house, shelf):
    async with open_house(archive=shelf) as house:
        status, told, _ = await house.ask("GET", "/admin/runtime")
    assert status == 200
    assert told["provider"] == {
        "default": "mcp-agent", "available": ["simulated"], "llm_provider": "simulated", "uses_openrouter": False,
        "default_model": "m", "openrouter_base_url": None, "mcp_servers_configured": False, "mcp_servers_active": False,
        "mcp_server_names": [], "mcp_servers_required_minimum": 1,
    }  # fmt: skip
    assert told["memory"] == {"backend": "sqlite", "default_limit": 10, "max_limit": 50}
    assert told["history"] == {
        "configured_backend": "mysql", "backend": "mysql", "enabled": True, "namespace": "ns", "lag_seconds": 0.0,
    }  # fmt: skip
    assert told["rate_limit"] == {"backend": "local", "rps": 1.0, "burst": 5}
    assert set(told) == {"provider", "memory", "history", "rate_limit", "version", "started_at"}


async def test_sessions_are_listed_without_a_text(open_house, connect, llm):
    async with open_house() as house:
        for number in range(3):
            await house.chat(connect, "a secret matter", f"c{number}")
        status, told, _ = await house.ask("GET", "/admin/sessions?limit=2")
        assert (status, told["count"], told["limit"], told["offset"]) == (200, 2, 2, 0)
        assert [one["id"] for one in told["sessions"]] == ["c2", "c1"]
        assert set(told["sessions"][0]) == {
            "id",
            "user",
            "state",
            "memory_limit",
            "created_at",
            "updated_at",
            "metadata",
        }
        assert "secret matter" not in json.dumps(told)
        assert [one["id"] for one in (await house.ask("GET", "/admin/sessions?offset=2"))[1]["sessions"]] == ["c0"]
        assert (await house.ask("GET", "/admin/sessions?state=running"))[1]["sessions"] == []
        assert (await house.ask("GET", "/admin/sessions?state=idle"))[1]["count"] == 3


PAGED = ("/admin/sessions", "/admin/history/sessions", "/admin/history/sessions/x/messages")
NO_PAGES = [
        ("limit=0", "invalid_limit"), ("limit=201", "invalid_limit"), ("limit=x", "invalid_limit"), ("limit=", "invalid_limit"),
        ("limit=-1", "invalid_limit"), ("limit=1.5", "invalid_limit"), ("offset=-1", "invalid_offset"),
        ("offset=x", "invalid_offset"), ("offset=99999999999", "invalid_offset"),
]  # fmt: skip


async def test_a_page_that_is_none_is_refused(open_house):
    async with open_house() as house:
        for path in PAGED:
            for query, wanted in NO_PAGES:
                assert await house.code("GET", f"{path}?{query}") == (400, wanted), (path, query)
        assert await house.code("GET", "/admin/sessions?state=asleep") == (422, "validation_error")


async def test_messages_are_shown_where_nobody_elses_privacy_is_at_stake(open_house, connect, llm):
    async with open_house() as house:
        await house.chat(connect)
        status, told, _ = await house.ask("GET", "/admin/sessions/c1/messages")
        assert status == 200
        assert [(one["role"], set(one)) for one in told] == [
            ("user", {"role", "content", "created_at"}), ("assistant", {"role", "content", "created_at"}),
        ]  # fmt: skip
        assert told[0]["content"] == "hello there"
        assert await house.code("GET", "/admin/sessions/other/messages") == (404, "session_not_found")
        assert [row.kind for row in await house.admin.chain.rows()] == ["session.read"]


async def test_messages_of_people_with_credentials_are_private(open_house, connect, llm, shelf):
    async with open_house(auth="token", archive=shelf) as house:
        await house.chat(connect)
        for path in (
            "/admin/sessions/c1/messages",
            "/admin/history/sessions/c1/messages",
            "/admin/sessions/none/messages",
        ):
            assert await house.code("GET", path) == (403, "private_conversations")


# --- the archive ----------------------------------------------------------------------------------------------------


SPANS = [
    ("", ["s3", "s2", "s1"], 3),
    ("limit=1&offset=1", ["s2"], 3),
    ("start_date=2026-03-02", ["s3", "s2"], 2),
    ("end_date=2026-03-02", ["s2", "s1"], 2),
    ("start_date=2026-03-02&end_date=2026-03-02", ["s2"], 1),
    ("end_date=2026-03-02T12:00:00Z", ["s2", "s1"], 2),
    ("end_date=2026-03-02T11:59:59.999Z", ["s1"], 1),
    ("start_date=2026-03-02T15:00:00%2B03:00", ["s3", "s2"], 2),
    ("start_date=2026-03-02T15:00:01%2B03:00", ["s3"], 1),
    ("start_date=2026-03-02&limit=1", ["s3"], 2),
]
NO_DATES = [
        "start_date=yesterday", "start_date=2026-02-30", "end_date=2026-3-1", "start_date=20260301", "start_date=2026-W01-1",
        "start_date=2026-03-02T12:00:00", "end_date=", "start_date=2026-03-02&end_date=2026-03-01",
        "start_date=0001-01-01T00:00:00%2B14:00",
]  # fmt: skip


async def test_mirrored_sessions_are_filtered_before_they_are_paged(open_house, shelf):
    async with open_house(archive=shelf) as house:
        for query, ids, total in SPANS:
            status, told, _ = await house.ask("GET", f"/admin/history/sessions?{query}")
            assert status == 200
            assert ([one["id"] for one in told["sessions"]], told["total"], told["count"]) == (ids, total, len(ids)), (
                query
            )
        for query in NO_DATES:
            assert await house.code("GET", f"/admin/history/sessions?{query}") == (400, "invalid_date"), query


async def test_without_an_archive_the_list_is_empty_and_a_lost_one_is_told(open_house, shelf):
    async with open_house() as house:
        told = (await house.ask("GET", "/admin/history/sessions?limit=7&offset=2"))[1]
        assert told == {"sessions": [], "limit": 7, "offset": 2, "count": 0, "total": 0}
    async with open_house(archive=shelf) as house:
        told = (await house.ask("GET", "/admin/history/sessions/s1/messages?limit=2&offset=1"))[1]
        assert (told["session_id"], told["count"]) == ("s1", 2)
        assert told["messages"][0] == {
            "role": "user", "content": "text 2", "created_at": "2026-03-01T12:00:00.000Z",
            "stored_at": "2026-03-01T12:00:01.000Z",
        }  # fmt: skip
        shelf.down = True
        for path in ("/admin/history/sessions", "/admin/history/sessions/s1/messages"):
            assert await house.code("GET", path) == (503, "archive_unavailable")


# --- settings -------------------------------------------------------------------------------------------------------


async def test_settings_are_told_with_their_source_and_without_secrets(open_house):
    async with open_house() as house:
        told = (await house.ask("GET", "/admin/config"))[1]
        assert told["rate_rps"] == {"value": 1.0, "source": "default"}
        assert told["admin_token"] == {"value": "***", "source": "environment (ADMIN_TOKEN)"}
        assert told["openrouter_key"]["value"] is None
        assert TOKEN not in json.dumps(told)


CHANGES = [
    ("rate_rps", 2.5, lambda cell: cell.rates.settings.rps == 2.5),
    ("rate_burst", 9, lambda cell: cell.rates.settings.burst == 9),
    ("rate_limits.read.rps", 50, lambda cell: cell.rates.settings.read_rps == 50),
    ("memory_default", 20, lambda cell: cell.settings.doors.memory_default == 20),
    ("MEMORY_MAX", 99, lambda cell: cell.settings.doors.memory_max == 99),
    ("log_level", "debug", lambda cell: cell.settings.log.level == "DEBUG"),
]


async def test_a_limit_is_changed_at_once_and_recorded(open_house):
    async with open_house() as house:
        try:
            for field, value, holds in CHANGES:
                status, told, _ = await house.ask("PUT", "/admin/config", {"field": field, "value": value})
                assert status == 200, told
                assert holds(house.cell), field
                shown = (await house.ask("GET", "/admin/config"))[1][told["field"]]
                assert shown == {"value": told["value"], "source": "admin (until restart)"}
                (row,) = await house.admin.chain.newest(1)
                assert (row.kind, row.subject) == ("config.changed", told["field"])
                assert json.loads(row.after) == told["value"] != json.loads(row.before)
        finally:
            logs.set_level("INFO")


UNCHANGEABLE = [
    ({"field": "admin_token", "value": "x" * 20}, 400, "invalid_field"),
    ({"field": "mcp_server_url", "value": "http://x"}, 400, "invalid_field"),
    ({"field": "services.notes.command", "value": "sh"}, 400, "invalid_field"),
    ({"field": "repository.path", "value": "/etc/passwd"}, 400, "invalid_field"),
    ({"field": "__class__", "value": 1}, 400, "invalid_field"),
    ({"field": "rate_rps", "value": 0}, 422, "invalid_value"),
    ({"field": "rate_rps", "value": "fast"}, 422, "invalid_value"),
    ({"field": "rate_rps", "value": True}, 422, "invalid_value"),
    ({"field": "rate_rps", "value": None}, 422, "invalid_value"),
    ({"field": "rate_burst", "value": 1.5}, 422, "invalid_value"),
    ({"field": "rate_burst", "value": 0}, 422, "invalid_value"),
    ({"field": "memory_default", "value": 51}, 422, "invalid_value"),
    ({"field": "memory_max", "value": 9}, 422, "invalid_value"),
    ({"field": "log_level", "value": "LOUD"}, 422, "invalid_value"),
    ({"field": 5, "value": 1}, 422, "validation_error"),
    ({"field": "rate_rps"}, 422, "validation_error"),
    ({"field": "rate_rps", "value": 1, "x": 1}, 422, "validation_error"),
]


async def test_nothing_else_can_be_changed(open_house):
    async with open_house() as house:
        before = house.cell.settings
        for body, status, wanted in UNCHANGEABLE:
            assert await house.code("PUT", "/admin/config", body) == (status, wanted), body
        assert house.cell.settings == before
        assert await house.admin.chain.rows() == ()


async def test_a_restart_is_for_whoever_is_supervised(open_house):
    async with open_house() as house:
        assert await house.code("POST", "/admin/restart") == (409, "not_supervised")
        assert not house.admin.house.restarting.is_set()
    async with open_house(supervised=True) as house:
        assert (await house.ask("POST", "/admin/restart"))[0] == 202
        assert house.admin.house.restarting.is_set()
        assert [row.kind for row in await house.admin.chain.rows()] == ["restart"]


@pytest.mark.parametrize("auth", ["token", "public"])
async def test_the_admin_token_is_enough_where_others_show_tokens_of_their_own(auth, open_house):
    async with open_house(auth=auth, trusted_proxies=("127.0.0.1",)) as house:
        assert (await house.ask("GET", "/admin/bypass"))[0] == 200
        assert (await house.ask("GET", "/health", headers={}))[0] == 200
        assert "details" in (await house.ask("GET", "/health"))[1]
        assert (await house.ask("GET", "/metrics"))[0] == 200
        assert await house.code("GET", "/admin/bypass", headers={}) == (401, "missing_admin_token")
        assert await house.code("GET", "/metrics", headers={}) == (401, "missing_admin_token")
        wanted = {"token": (403, "private_conversations"), "public": (404, "session_not_found")}[auth]
        assert await house.code("GET", "/admin/sessions/none/messages") == wanted
        for _ in range(6):
            await house.code("GET", "/admin/bypass", headers={"X-Admin-Token": "x", "X-Forwarded-For": "9.9.9.9"})
        assert (await house.ask("GET", "/admin/bypass"))[0] == 200  # the proxy itself has guessed nothing
        (row,) = await house.admin.chain.newest(1)
        assert (row.kind, row.source) == ("admin.refused", "9.9.9.9")
