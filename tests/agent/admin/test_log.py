"""What the log of an agent alone tells: the documented events with their fields, and never what was said."""

import json
from dataclasses import replace

import pytest

from tom.agent.tally import tell_configuration
from tom.config.agent import RateSettings, RedisSettings
from tom.config.secret import Secret
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

SAID = "the-secret-of-the-house"


async def test_each_documented_event_is_told_with_its_fields(open_house, llm, log):
    async with open_house(rates=None) as house:
        told = (await house.ask("POST", "/sessions", {"metadata": {"note": SAID}}, {"X-Request-ID": "mine-1"}))[1]
        path = f"/sessions/{told['id']}"
        assert (await house.ask("POST", f"{path}/messages", {"content": SAID}, {}))[0] == 200
        llm.otherwise(Script.fault("bad_request"))
        assert (await house.ask("POST", f"{path}/messages", {"content": SAID}, {}))[0] == 502
        await house.ask("POST", f"{path}/messages", {"content": ""}, {})
        await house.ask("GET", "/sessions/nothing", headers={})
        await house.ask("GET", f"/nothing/{SAID}", headers={})
        await house.ask("GET", "/admin/runtime", headers={"X-Admin-Token": "wrong-" + SAID})
        assert (await house.ask("DELETE", path, headers={}))[0] == 204
    records = log()
    events = {record.get("event") for record in records}
    assert events >= {
        "request_completed", "session_created", "session_deleted", "session_not_found", "run_finished", "provider_error",
        "api_error", "validation_error", "admin_token_wrong",
    }  # fmt: skip
    assert SAID not in json.dumps(records)
    (created,) = [one for one in records if one.get("event") == "request_completed" and one["request_id"] == "mine-1"]
    assert created.items() >= {
        "method": "POST", "path": "/sessions", "client_ip": "127.0.0.1", "status_code": 201, "level": "INFO",
    }.items()  # fmt: skip
    assert created["duration_ms"] >= 0
    assert {"timestamp", "level", "logger", "message", "event", "request_id"} <= created.keys() | {"logger", "module"}
    (unknown,) = [one for one in records if one.get("event") == "request_completed" and one["path"] == "(no route)"]
    assert unknown["status_code"] == 404


async def test_too_many_requests_are_told_and_counted(open_house, log):
    async with open_house(rates=RateSettings(rps=0.01, burst=1)) as house:
        assert (await house.ask("POST", "/sessions", {}, {}))[0] == 201
        status, told, headers = await house.ask("POST", "/sessions", {}, {})
        assert (status, told["error"]) == (429, "rate_limited")
        assert headers["X-Request-ID"]
        text = await (await house.http.get("/metrics?format=prometheus")).text()
    assert "tom_rate_limited_total 1.0" in text
    assert "rate_limited" in {record.get("event") for record in log()}


async def test_a_socket_s_refused_message_is_counted_and_told_once(open_house, log):
    async with open_house(rates=RateSettings(rps=0.01, burst=3)) as house:
        async with house.http.ws_connect(house.url.replace("http", "ws") + "/ws/chat") as chat:
            for request_id, payload in (("a", {"text": 7}), ("b", {"txt": "hello"}), ("c", {"text": "hello"})):
                await chat.send_json({"action": "chat", "request_id": request_id, "payload": payload})
                answer = await chat.receive_json(timeout=10)
                assert (answer["request_id"], answer["status"]) == (request_id, "error")
            assert answer["error"]["code"] == "rate_limited", "what cannot be read was counted"
        told = (await house.ask("GET", "/metrics", headers={}))[1]
    assert told["requests_by_method"] == {"WS": 3}
    assert told["responses_by_status"] == {"422": 2, "429": 1}
    events = [(record["event"], record["operation"]) for record in log() if record.get("operation") == "chat"]
    assert events == [("validation_error", "chat")] * 2 + [("rate_limited", "chat")]


async def test_a_defect_of_ours_is_told_without_what_was_asked(open_house, log, monkeypatch):
    async with open_house(rates=None) as house:

        async def broken(_):
            raise ZeroDivisionError

        monkeypatch.setattr(house.cell.conversations, "get", broken)
        assert (await house.ask("GET", f"/sessions/{SAID}", headers={"X-Request-ID": "mine-2"}))[0] == 500
    (told,) = [record for record in log() if record.get("event") == "request_failed"]
    assert told.items() >= {"level": "ERROR", "request_id": "mine-2", "code": "internal_error"}.items()
    assert SAID not in json.dumps(told)


@pytest.mark.services
async def test_a_redis_that_counts_nothing_is_told_once_a_minute(open_house, log, free_port, until):
    redis = RedisSettings(url=Secret(f"redis://:{SAID}@127.0.0.1:{free_port}/0"))
    async with open_house(rates=RateSettings(rps=1000, burst=1000), redis=redis) as house:

        async def told():
            assert (await house.ask("POST", "/sessions", {}, {}))[0] == 201
            return [record for record in log() if record.get("event") == "rate_limit_check_failed"]

        await until(told, what="a warning")
        for _ in range(5):
            (record,) = await told()
    assert record["level"] == "WARNING"
    assert record["reason"]
    assert SAID not in json.dumps(log())


async def test_what_the_settings_have_come_to_is_told(open_house, log):
    async with open_house() as house:
        tell_configuration(house.cell.settings, "local")
        tell_configuration(replace(house.cell.settings, llm="unconfigured"), "local")
    records = log()
    first, second = [record for record in records if record.get("event") == "runtime_configuration_resolved"]
    assert first.items() >= {"llm": "simulated", "archive": "none", "limiter": "local", "auth": "local"}.items()
    assert second["llm"] == "unconfigured"
    (missing,) = [record for record in records if record.get("event") == "default_provider_unavailable"]
    assert missing["level"] == "WARNING"
