"""The matrix of the WebSocket: every action, everybody who may knock, things of one's own, of others and of nobody."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tom import ids
from tom.agent.actions import READERS
from tom.policy.permissions import Scope

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P10")]

ACTIONS = json.loads((Path(__file__).parent / "cases" / "actions.json").read_text())
ENDS = {"complete", "error", "pong"}
MADE_NEW = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b|\d{4}-\d\d-\d\dT[\d:.]+Z")
SECONDS = 20


def may_open(knocker):
    return knocker.scopes is not None and Scope.CHAT in knocker.scopes


def lacks(knocker, action):
    """Whether the action needs a scope, besides that of the socket, which somebody has not."""
    also = ACTIONS[action].get("also")
    return also is not None and Scope(also) not in knocker.scopes


def names_in(action):
    return re.findall(r"\{(\w+)\}", json.dumps(ACTIONS[action]["payload"]))


async def answered(socket, action, values):
    """The frames that an action is answered with, and how they end."""
    text = json.dumps(ACTIONS[action]["payload"])
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    asked = ids.ulid()
    await socket.send(json.dumps({"action": action, "request_id": asked, "payload": json.loads(text)}))
    frames = []
    async with asyncio.timeout(SECONDS):
        while not frames or frames[-1]["status"] not in ENDS:
            frame = json.loads(await socket.recv())
            if frame["request_id"] == asked:
                frames.append(frame)
    last = frames[-1]
    return frames, last["error"]["code"] if last["status"] == "error" else last["status"]


async def test_every_action_has_a_case():
    assert set(ACTIONS) == set(READERS)


async def test_who_may_not_chat_does_not_get_a_socket(town):
    refused = [knocker for knocker in town.knockers.values() if not may_open(knocker)]
    assert len(refused) >= 4
    for knocker in refused:
        with pytest.raises(InvalidStatus) as error:
            async with town.socket(knocker):
                pass
        assert error.value.response.status_code == (401 if knocker.scopes is None else 403), knocker.name


@pytest.mark.parametrize("action", ACTIONS)
async def test_everybody_acts_on_what_is_theirs(town, things, action):
    for knocker in town.knockers.values():
        if may_open(knocker):
            mine = await things(knocker.user).make(names_in(action))
            async with town.socket(knocker) as socket:
                frames, end = await answered(socket, action, mine)
            wanted = "scope_missing" if lacks(knocker, action) else ACTIONS[action]["own"]
            assert end == wanted, (knocker.name, frames)


@pytest.mark.parametrize("action", [action for action in ACTIONS if names_in(action)])
async def test_what_belongs_to_others_is_answered_like_what_does_not_exist(town, things, nobodys, action):
    for knocker in town.knockers.values():
        if not may_open(knocker):
            continue
        other = "bob" if knocker.user != "bob" else "alice"
        foreign = await things(other).make(names_in(action))
        before = await everything(town, other)
        told = []
        for values in (foreign, nobodys(foreign)):
            async with town.socket(knocker) as socket:
                frames, end = await answered(socket, action, values)
            told.append((MADE_NEW.sub("~", json.dumps(frames)), end))
        assert told[0] == told[1], knocker.name
        missing = "scope_missing" if lacks(knocker, action) else ACTIONS[action]["missing"]
        assert missing in {None, told[0][1]}, (knocker.name, told[0])
        assert await everything(town, other) == before, (knocker.name, "something of the other was touched")


async def test_an_id_of_somebody_else_opens_a_conversation_of_ones_own(town, things):
    foreign = await things("bob").make(["session_id"])
    async with town.socket(town.knockers["owner"]) as socket:
        frames, _ = await answered(socket, "chat", foreign)
    assert frames[0]["conversation_id"] == foreign["session_id"]
    mine, theirs = (town.agents.cells[user].store for user in ("alice", "bob"))
    texts = [event.content for event in await mine.read(foreign["session_id"], limit=50)]
    assert "help" in texts
    assert not [event for event in await theirs.read(foreign["session_id"], limit=50) if event.content == "help"]


async def everything(town, user):
    cell = town.agents.cells[user]
    rows = await cell.store.conversations(limit=1000)
    return sorted((one.id, one.last_seq) for one in rows), len(await cell.approvals.pending())
