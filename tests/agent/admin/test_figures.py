"""Health and figures of an agent alone, and what an agent tells its gateway."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tom.agent.identify import BehindGateway
from tom.config.secret import Secret
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ADMIN = {"X-Admin-Token": "t0p-secret-admin-token"}

# --- health and figures ---------------------------------------------------------------------------------------------


async def test_health_tells_an_admin_of_each_part(open_house):
    async with open_house() as house:
        status, told, headers = await house.ask("GET", "/health", headers={})
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert set(told) == {"status", "uptime_seconds", "requests_total", "responses_total", "errors_total"}
        details = (await house.ask("GET", "/health"))[1]["details"]
        assert set(details) == {"store", "scheduler", "archive", "redis", "services", "websocket_connections"}
        assert (await house.ask("GET", "/health/ready", headers={}))[:2] == (200, {"ready": True})
        house.cell.ready = False
        assert (await house.ask("GET", "/health/ready", headers={}))[:2] == (503, {"ready": False})


async def test_only_what_counts_is_counted(open_house, connect, llm):
    async with open_house(rates=None) as house:
        for path in ("/health", "/metrics", "/admin/bypass", "/sessions", "/openapi.json"):
            await house.ask("GET", path)
        told = (await house.ask("GET", "/metrics", headers={}))[1]
        assert (told["requests_total"], told["responses_total"]) == (0, 0)
        opened = (await house.ask("POST", "/sessions", {}, {}))[1]
        await house.ask("POST", f"/sessions/{opened['id']}/messages", {"content": "hello"}, {})
        await house.ask("POST", f"/sessions/{opened['id']}/messages", {}, {})
        socket_url = house.url.replace("http", "ws") + "/ws/chat"
        async with house.http.ws_connect(socket_url) as chat:
            await chat.send_json({"action": "ping", "request_id": "p"})
            await chat.send_json({"action": "chat", "request_id": "a", "payload": {"text": "hello"}})
            while (await chat.receive_json(timeout=10))["status"] != "complete":
                pass
            told, headers = (await house.ask("GET", "/metrics", headers={}))[1:]
    assert told["requests_by_method"] == {"POST": 3, "WS": 1}
    assert told["responses_by_status"] == {"200": 2, "201": 1, "422": 1}
    assert told["errors_total"] == 0
    assert told["websocket_connections"] == 1
    assert told["tokens_total"] > 0
    assert told["runs"] == {"active": 0, "queued": 0, "waiting": 0}
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


async def test_a_failed_run_is_one_error_whoever_tells_of_it(open_house, llm):
    async with open_house(rates=None) as house:
        opened = (await house.ask("POST", "/sessions", {}, {}))[1]
        llm.otherwise(lambda _: Script.fault("bad_request"))
        status, _, _ = await house.ask("POST", f"/sessions/{opened['id']}/messages", {"content": "hello"}, {})
        assert status >= 500
        told = (await house.ask("GET", "/metrics", headers={}))[1]
        assert told["errors_total"] == 1
        text = await (await house.http.get("/metrics?format=prometheus")).text()
    samples = {
        sample.name: sample.labels for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["tom_provider_errors_total"]["code"].startswith("provider_")


async def test_a_failure_that_is_told_again_is_no_new_one_at_any_door(open_house, llm):
    async with open_house(rates=None) as house:
        opened = (await house.ask("POST", "/sessions", {}, {}))[1]
        llm.otherwise(lambda _: Script.fault("bad_request"))
        body = {"content": "hello", "request_id": "r1"}
        for _ in range(3):
            assert (await house.ask("POST", f"/sessions/{opened['id']}/messages", body, {}))[0] == 502
        async with house.http.ws_connect(house.url.replace("http", "ws") + "/ws/chat") as chat:
            for request_id in ("r1", "w1", "w1"):
                payload = {"text": "hello", "conversation_id": opened["id"]}
                await chat.send_json({"action": "chat", "request_id": request_id, "payload": payload})
                while (await chat.receive_json(timeout=10))["status"] != "error":
                    pass
        told = (await house.ask("GET", "/metrics", headers={}))[1]
    assert told["errors_total"] == 2
    assert told["responses_by_status"] == {"201": 1, "502": 6}


FORMS = [
    ("", "*/*", "application/json"),
    ("", "text/plain", "text/plain; version=0.0.4; charset=utf-8"),
    ("?format=prometheus", "application/json", "text/plain; version=0.0.4; charset=utf-8"),
    ("?format=json", "text/plain", "application/json"),
]


async def test_the_figures_come_in_two_forms_and_no_third(open_house):
    async with open_house() as house:
        for query, accept, kind in FORMS:
            async with house.http.get(f"/metrics{query}", headers={"Accept": accept}) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
                if kind.startswith("text"):
                    assert list(text_string_to_metric_families(await answer.text()))
        assert await house.code("GET", "/metrics?format=xml") == (400, "invalid_format")


async def test_on_other_addresses_figures_need_the_admin_token(open_house):
    async with open_house(auth="token") as house:
        assert await house.code("GET", "/metrics", headers={}) == (401, "missing_admin_token")
        status, _, headers = await house.ask("GET", "/metrics")
        assert status == 200
        assert "Access-Control-Allow-Origin" not in headers
    async with open_house(auth="token", metrics_public=True) as house:
        assert (await house.ask("GET", "/metrics", headers={}))[0] == 200


async def test_switched_off_there_is_no_route_and_nothing_counts(open_house, connect, monkeypatch, llm):
    def refuse(*_):
        raise AssertionError("a counter was made")

    for name in ("tom.telemetry.metrics.Metrics.__init__", "tom.agent.tally.Tally.__init__"):
        monkeypatch.setattr(name, refuse)
    async with open_house(metrics=False) as house:
        assert house.cell.metrics is None
        await house.chat(connect)
        assert await house.code("GET", "/metrics", headers={}) == (404, "not_found")
        assert (await house.ask("GET", "/health", headers={}))[1]["requests_total"] == 0


# --- between gateway and agent --------------------------------------------------------------------------------------


async def test_an_agent_tells_its_gateway_and_nobody_else(open_house, connect, llm):
    door = BehindGateway("alice", Secret("agent-secret"))
    gateway = {"X-Tom-User": "alice", "X-Tom-Agent-Secret": "agent-secret", "X-Tom-Door": "gateway"}
    async with open_house(door=door) as house:
        await house.chat(connect)
        for path in ("/internal/numbers", "/internal/sessions?first=5", "/internal/state"):
            assert (await house.ask("GET", path, headers={}))[0] == 401
            for other in ("cookie", "token", "control"):
                assert (await house.ask("GET", path, headers=gateway | {"X-Tom-Door": other}))[0] == 404
            assert (await house.ask("GET", path, headers=gateway))[0] == 200
        sessions = (await house.ask("GET", "/internal/sessions?first=5", headers=gateway))[1]["sessions"]
        assert [one["id"] for one in sessions] == ["c1"]
        body = {"field": "rate_burst", "value": 7}
        assert (await house.ask("PUT", "/internal/settings", body, gateway))[1] == {"value": 7}
        assert house.cell.rates.settings.burst == 7
        assert (await house.ask("GET", "/admin/runtime", headers=gateway | ADMIN))[0] == 404
