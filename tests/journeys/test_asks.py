"""A run that asks, over a whole house: seen on another device, answered there, once, over restarts, by its owner only."""

import asyncio
import base64
import json
import os
import sys

import aiohttp
import pytest

from tom.testing.alone import Alone
from tom.testing.house import PASSWORD
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WRITE = Script.tool_calls(("write_note", {"text": "milk"}))
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(20)
ASK_ALWAYS = {"policy": {"rules": [{"tool": "ledger.write_note", "verdict": "ask"}]}}


@pytest.fixture
async def asking_house(open_house, ledger):
    """A house in which writing to the ledger asks."""
    return await open_house(ledger.service, **ASK_ALWAYS)


def is_waiting(frame):
    return frame["status"] == "processing" and frame["chunk"].get("type") == "waiting"


async def until_waiting(chat):
    async with asyncio.timeout(30):
        while not is_waiting(frame := await chat.receive()):
            assert frame["status"] != "error", frame
    return frame["chunk"]["metadata"]


def word(ask, decision="allow"):
    return {"approval_id": ask["approval_id"], "decision": decision, "arguments_digest": ask["arguments_digest"]}


@pytest.mark.promise("P14")
@pytest.mark.promise("P15")
async def test_an_ask_is_answered_from_another_device_and_two_answers_have_one_effect(asking_house, llm, ledger):
    llm.reply(WRITE, Script.text("It is written."))
    async with (
        asking_house.person("alice") as phone,
        asking_house.person("alice") as desk,
        phone.chat() as one,
        desk.chat() as two,
    ):
        request = await one.send("chat", text="note milk", conversation_id="c1")
        ask = await until_waiting(one)
        assert ledger.effects == []
        await two.send("resume", conversation_id="c1", after=0)
        assert await until_waiting(two) == ask
        (listed,) = (await desk.get("/approvals"))["approvals"]
        assert listed == ask
        body = {key: value for key, value in word(ask).items() if key != "approval_id"}
        rest = desk.post(f"/approvals/{ask['approval_id']}", body)
        _, _, third = await asyncio.gather(
            one.send("approve", "a1", **word(ask)), two.send("approve", "a2", **word(ask)), rest
        )
        end = (await one.until("complete", "error", request_id=request))[-1]
        events = (await phone.get("/sessions/c1/events"))["events"]
    assert end["metadata"]["finish_reason"] == "stop"
    assert len(ledger.effects) == 1
    answers = [event for event in events if event["type"] == "approval.answered"]
    assert len(answers) == 1
    assert "error" not in third or third["error"]["code"] == "already_answered"


@pytest.mark.promise("P11")
async def test_nobody_else_sees_or_answers_an_ask(asking_house, llm, ledger):
    llm.reply(WRITE, Script.text("It is written."))
    async with (
        asking_house.person("alice") as alice,
        asking_house.person("bob") as bob,
        alice.chat() as one,
        bob.chat() as two,
    ):
        await one.send("chat", text="note milk", conversation_id="c1")
        ask = await until_waiting(one)
        assert (await bob.get("/approvals")) == {"approvals": []}
        body = {"decision": "allow", "arguments_digest": ask["arguments_digest"]}
        unknown = await bob.post("/approvals/01NOBODY", body)
        foreign = await bob.post(f"/approvals/{ask['approval_id']}", body)
        for told in (unknown, foreign):
            del told["request_id"]
        assert unknown == foreign
        assert foreign["error"]["code"] == "approval_not_found"
        assert (await two.ask("approve", **word(ask)))["error"]["code"] == "approval_not_found"
        assert ledger.effects == []


@pytest.mark.promise("P2")
async def test_an_ask_outlives_its_agent_and_its_house(asking_house, llm, ledger):
    llm.reply(WRITE, Script.text("It is written."))
    async with asking_house.person("alice") as alice, alice.chat() as chat:
        await chat.send("chat", text="note milk", conversation_id="c1")
        ask = await until_waiting(chat)
    await asking_house.kill_agent("alice")
    async with asking_house.person("alice") as alice:
        assert [one["approval_id"] for one in (await alice.get("/approvals"))["approvals"]] == [ask["approval_id"]]
    await asking_house.stop()
    await asking_house.start()
    async with asking_house.person("alice") as alice, alice.chat() as chat:
        await chat.send("resume", conversation_id="c1", after=0)
        assert (await until_waiting(chat))["approval_id"] == ask["approval_id"]
        assert (await chat.ask("approve", **word(ask)))["metadata"]["result"] == "recorded"
        async with asyncio.timeout(30):
            while (await chat.receive()).get("event", {}).get("type") != "run.completed":
                pass
    assert len(ledger.effects) == 1


async def test_a_script_sees_what_waits_and_allows_exactly_that(asking_house, llm, ledger):
    llm.reply(WRITE, Script.text("It is written."))

    async def tom(*arguments):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tom.cli.main", *arguments, "--url", asking_house.url, "--user", "alice",
            "--data", str(asking_house.directory), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TOM_PASSWORD": PASSWORD, "XDG_CONFIG_HOME": str(asking_house.directory.parent)},
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    status, out, errors = await tom("chat", "note milk")
    assert (status, out) == (8, ""), errors
    status, out, _ = await tom("approvals", "list", "--json")
    (ask,) = json.loads(out)["approvals"]
    digest = ask["arguments_digest"].removeprefix("sha256:")
    assert (await tom("approvals", "allow", ask["approval_id"]))[0] == 8
    assert ledger.effects == []
    status, _, errors = await tom("approvals", "allow", ask["approval_id"], "--digest", digest[:8])
    assert status == 0, errors
    assert (await tom("approvals", "allow", ask["approval_id"], "--digest", digest[:8]))[0] == 5
    async with asking_house.person("alice") as alice:
        events = (await alice.get(f"/sessions/{ask['conversation_id']}/events?wait=30"))["events"]
        answered = next(event for event in events if event["type"] == "approval.answered")
    assert answered["extra"]["device"].startswith("tom-chat (Linux")


@pytest.mark.promise("P3")
async def test_a_picture_reaches_the_model_through_the_whole_house_and_is_erased_with_its_conversation(open_house, llm):
    llm.otherwise(Script.text("A dot."))
    house = await open_house()
    picture = {"type": "image", "media_type": "image/png", "data": base64.b64encode(PNG + bytes(3_000_000)).decode()}
    async with house.person("alice") as alice, alice.chat() as chat:
        spoken = await chat.say("what is this?", attachments=[picture] * 3, conversation_id="c1")
        assert spoken.end["status"] == "complete", spoken.end
        assert len(list(house.home("alice").glob("files/*/*"))) == 1
        again = await chat.say("and now?", conversation_id="c1")
        assert again.end["status"] == "complete", again.end
        async with alice.http.delete("/sessions/c1") as answer:
            assert answer.status == 204
    assert not list(house.home("alice").glob("files/*/*"))
    assert picture["data"] in json.dumps(llm.requests[0].messages)


async def test_the_operator_of_an_agent_alone_is_its_person_and_answers_at_the_command_line(tmp_path, llm, ledger):
    """No address, no login: the control socket, whose file is the lock."""
    llm.reply(WRITE, Script.text("It is written."))
    model = {
        "api": "none",
        "base_url": llm.url,
        "models": ["compatible/s", "compatible/m", "compatible/l"],
        "timeout": 5,
    }
    settings = {"global": {"llm": "simulated", "llms": {"simulated": model}}, "services": ledger.service, **ASK_ALWAYS}

    async def tom(*arguments):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tom.cli.main", "approvals", *arguments, "--data", str(tmp_path / "data"),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "TOM_URL"},
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    with Alone(tmp_path / "data", settings, {"HOME": str(tmp_path)}) as agent:
        async with aiohttp.ClientSession(agent.url) as http:
            session = (await (await http.post("/sessions", json={})).json())["id"]
            sent = await http.post(f"/sessions/{session}/messages", json={"content": "note milk"})
            assert (await sent.json())["status"] == "waiting"
            (ask,) = json.loads((await tom("list", "--json"))[1])["approvals"]
            assert ask["arguments"] == {"text": "milk"}
            assert (await tom("allow", "01NOBODY", "--digest", "00000000"))[0] == 5
            digest = ask["arguments_digest"].removeprefix("sha256:")
            status, _, errors = await tom("allow", ask["approval_id"], "--digest", digest[:8])
            assert status == 0, errors
            assert (await tom("allow", ask["approval_id"], "--digest", digest[:8]))[0] == 5
            events = []
            async with asyncio.timeout(20):
                while "run.completed" not in [event["type"] for event in events]:
                    path = f"/sessions/{session}/events?wait=10&after={len(events)}"
                    events += (await (await http.get(path)).json())["events"]
    assert len(ledger.effects) == 1
