"""Two people in one house never meet: not by id, list, stream, header or cookie."""

import pytest
from websockets.exceptions import InvalidStatus

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P10")]

CANARY = "canary-7f3a91"


def without_ids(body, *ids):
    text = str(body)
    for value in ids:
        text = text.replace(value, "ID")
    return text


async def test_a_foreign_conversation_is_answered_exactly_like_one_that_never_existed(open_house, llm):
    llm.otherwise(Script.text(CANARY))
    house = await open_house()
    unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    async with house.person("alice") as alice, house.person("bob") as bob, bob.chat() as chat:
        mine = (await alice.say(f"remember {CANARY}")).conversation_id
        for path in ("/sessions/{}", "/sessions/{}/events"):
            foreign, never = await bob.get(path.format(mine)), await bob.get(path.format(unknown))
            foreign.pop("request_id"), never.pop("request_id")
            assert without_ids(foreign, mine) == without_ids(never, unknown)
            assert foreign["error"]["code"] == "session_not_found"
        for action, payload in (
            ("resume", {"after": 0}),
            ("stop", {}),
            ("subscribe", {}),
            ("retry", {"run_id": unknown}),
            ("clear", {"delete": True}),
        ):
            foreign = await chat.ask(action, conversation_id=mine, **payload)
            never = await chat.ask(action, conversation_id=unknown, **payload)
            assert foreign["error"]["code"] == "conversation_not_found"
            assert foreign["error"] == never["error"]
        assert (await bob.get("/sessions"))["sessions"] == []
        async with bob.http.delete(f"/sessions/{mine}") as answer:
            assert answer.status == 404
        kept = await alice.get(f"/sessions/{mine}/events")
        assert any(CANARY in (e["content"] or "") for e in kept["events"])


async def test_speaking_under_a_foreign_conversation_id_opens_ones_own_and_touches_nothing(open_house, llm):
    llm.otherwise(Script.text("hello"))
    house = await open_house()
    async with house.person("alice") as alice, house.person("bob") as bob:
        await alice.say(f"remember {CANARY}", conversation_id="shared-name")
        spoken = await bob.say("what is here?", conversation_id="shared-name")
        assert spoken.end["status"] == "complete"
        assert CANARY not in str(llm.requests[-1].messages)
        alices = await alice.get("/sessions/shared-name/events")
        bobs = await bob.get("/sessions/shared-name/events")
    assert CANARY in str(alices)
    assert CANARY not in str(bobs)


@pytest.mark.promise("P11")
async def test_headers_that_name_somebody_else_change_nothing(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    forged = {"X-Tom-User": "alice", "X-Tom-Door": "token", "X-Tom-Agent-Secret": "guess", "X-Forwarded-User": "alice"}
    async with house.person("alice") as alice, house.person("bob") as bob:
        await alice.say(CANARY)
        async with bob.http.get("/sessions", headers=forged) as answer:
            assert answer.status == 200
            assert (await answer.json())["sessions"] == []


async def test_a_subscription_to_everything_hears_only_ones_own(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    async with house.person("alice") as alice, house.person("bob") as bob, bob.chat() as listening:
        await listening.ask("subscribe", conversation_id="*")
        await alice.say(CANARY)
        await bob.say("mine")
        frames = await listening.until("event")
        while frames[-1]["event"]["type"] != "run.completed":
            frames += await listening.until("event")
    assert CANARY not in str(frames)


async def test_the_files_of_a_person_lie_in_a_directory_that_only_tom_can_enter(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    async with house.person("alice") as alice, house.person("bob") as bob:
        await alice.say(CANARY)
        await bob.say("hello")
    for user in ("alice", "bob"):
        assert house.home(user).stat().st_mode & 0o077 == 0
        assert (house.home(user) / "history.db").stat().st_mode & 0o077 == 0
    assert CANARY.encode() not in (house.home("bob") / "history.db").read_bytes()


@pytest.mark.promise("P13")
async def test_keys_and_secrets_stand_in_no_log_environment_or_command_line(open_house, llm, tmp_path):
    llm.otherwise(Script.text("ok"))
    key = "sk-canary-5d1e2f3a4b5c6d7e8f90"
    llms = {"simulated": {"api": key}}
    house = await open_house(**{"global": {"llm": "simulated", "llms": {"simulated": {
        **llms["simulated"], "base_url": llm.url, "models": "compatible/small"}}}})  # fmt: skip
    async with house.person("alice") as alice:
        await alice.say("hello")
        pid = await house.agent_pid("alice")
    assert llm.requests[0].headers["authorization"] == f"Bearer {key}"
    secret = (house.home("alice") / "agent.secret").read_text().strip()
    for process in (pid, house.process.pid):
        for place in ("environ", "cmdline"):
            with open(f"/proc/{process}/{place}", "rb") as file:
                seen = file.read()
            assert key.encode() not in seen
            assert secret.encode() not in seen
    assert key not in house.log
    assert secret not in house.log


async def test_a_socket_without_a_login_or_from_a_foreign_page_is_refused_before_the_upgrade(open_house):
    from websockets.asyncio.client import connect

    house = await open_house()
    address = f"wss://localhost:{house.port}/ws/chat"
    async with house.person("alice") as alice:
        cookie = f"__Host-tom={alice.cookie}"
        for headers, status in (
            ({}, 401),
            ({"Cookie": "__Host-tom=forged", "X-Tom-Client": "x"}, 401),
            ({"Cookie": cookie, "Origin": "https://evil.example"}, 403),
            ({"Cookie": cookie, "Origin": "null"}, 403),
            ({"Cookie": cookie}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(address, ssl=house.tls(), additional_headers=headers, proxy=None):
                    pass
            assert refused.value.response.status_code == status, headers
