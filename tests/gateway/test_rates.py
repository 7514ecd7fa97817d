"""How often an address may ask the gateway, who is behind it, and who is exempt."""

import json

import pytest
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.anyio

NARROW = {"rate_rps": 0.01, "rate_burst": 3, "rate_limits": {"read": {"rps": 0.01, "burst": 4}}}
TRUSTING = {"global": {"trusted_proxies": ["127.0.0.1", "::1"]}}


async def statuses(session, method, path, count, **headers):
    found = []
    for _ in range(count):
        async with session.request(method, path, headers=headers) as answer:
            found.append(answer.status)
    return found


async def test_an_address_is_refused_flat_and_nothing_reaches_the_agent(opened):
    async with opened(**NARROW) as door:
        alice = await door.person("alice")
        assert 429 not in await statuses(alice, "POST", "/sessions", 3)
        before = len(door.agents.by_user["alice"].seen)
        async with alice.post("/sessions", headers={"X-Request-ID": "r-1"}) as answer:
            body = await answer.json()
            assert answer.status == 429
            assert set(body) == {"error", "retry_after"}
            assert body["error"] == "rate_limited"
            assert 90 < body["retry_after"] <= 100.0
            assert answer.headers["Retry-After"] in {"99", "100"}
            assert answer.headers["X-Request-ID"] == "r-1"
        assert len(door.agents.by_user["alice"].seen) == before


async def test_people_at_one_address_share_its_bucket_and_reads_have_another(opened):
    async with opened(**NARROW) as door:
        alice, bob = await door.person("alice"), await door.person("bob")
        assert 429 not in await statuses(alice, "POST", "/sessions", 3)
        assert await statuses(bob, "POST", "/sessions", 1) == [429]
        assert 429 not in await statuses(bob, "GET", "/sessions", 4)
        assert await statuses(alice, "GET", "/sessions", 1) == [429]


async def test_whoever_is_nobody_is_told_so_and_not_counted(opened):
    async with opened(**NARROW) as door:
        stranger = door.stranger()
        assert set(await statuses(stranger, "POST", "/sessions", 10)) == {401}
        assert 429 not in await statuses(await door.person("alice"), "POST", "/sessions", 3)


async def test_health_static_files_stopping_and_the_routes_of_tom_are_free(opened):
    async with opened(**NARROW) as door:
        alice = await door.person("alice")
        await statuses(alice, "POST", "/sessions", 3)
        await statuses(alice, "GET", "/sessions", 4)
        for method, path in (("GET", "/health"), ("GET", "/tasks"), ("POST", "/sessions/s/stop"), ("GET", "/auth")):
            assert 429 not in await statuses(alice, method, path, 6), path


async def test_an_upgrade_is_refused_by_http(opened):
    async with opened(**NARROW) as door:
        cookie = await door.log_in("alice")
        for _ in range(3):
            async with door.socket(cookie):
                pass
        with pytest.raises(InvalidStatus) as refused:
            async with door.socket(cookie):
                pass
        response = refused.value.response
        assert response.status_code == 429
        assert json.loads(response.body)["error"] == "rate_limited"
        assert int(response.headers["Retry-After"]) >= 1
        assert response.headers["X-Request-ID"]


async def test_tickets_count_for_the_caller_too_since_no_agent_does(opened):
    async with opened(**NARROW, **TRUSTING) as door:
        alice = await door.person("alice")
        found = []
        for number in range(4):
            found += await statuses(alice, "POST", "/ws/ticket", 1, **{"X-Forwarded-For": f"203.0.113.{number}"})
        assert 429 not in found[:3]
        assert found[3] == 429


@pytest.mark.promise("P19")
async def test_a_forged_address_gains_nothing_unless_the_proxy_that_says_it_is_trusted(opened):
    async with opened(**NARROW) as door:
        alice = await door.person("alice")
        found = []
        for number in range(4):
            found += await statuses(alice, "POST", "/sessions", 1, **{"X-Forwarded-For": f"203.0.113.{number}"})
        assert found[3] == 429
    async with opened(**NARROW, **TRUSTING) as door:
        alice = await door.person("alice")
        found = []
        for number in range(4):  # the client wrote the first, the proxy the second
            found += await statuses(
                alice, "POST", "/sessions", 1, **{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"}
            )
        assert found[3] == 429
        assert await statuses(alice, "POST", "/sessions", 1, **{"X-Forwarded-For": "203.0.113.10"}) != [429]


async def test_an_address_on_the_bypass_list_is_not_counted_and_its_agent_does_not_hear_it(opened):
    async with opened(**NARROW) as door:
        rates = door.gateway.rates
        await rates.bypass.add("127.0.0.0/16", by="a test")
        await rates.bypass.add("::1", by="a test")
        alice = await door.person("alice")
        assert 429 not in await statuses(alice, "POST", "/sessions", 10)
        async with door.socket(alice.cookie):
            pass
        told = dict(door.agents.by_user["alice"].seen[-1]["headers"])
        assert told["x-tom-address"] == ""


async def test_a_changed_rate_is_in_force_at_once(opened, write_config, until):
    async with opened(**NARROW) as door:
        alice = await door.person("alice")
        await statuses(alice, "POST", "/sessions", 3)
        assert await statuses(alice, "POST", "/sessions", 1) == [429]
        await door.gateway.apply(write_config(door.data, door.port, NARROW | {"rate_rps": 1000, "rate_burst": 1000}))

        async def passes():
            return await statuses(alice, "POST", "/sessions", 1) != [429]

        await until(passes)  # an empty bucket fills at the new rate
        assert 429 not in await statuses(alice, "POST", "/sessions", 10)
