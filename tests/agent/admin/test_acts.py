"""The record of an agent alone: answers to asks and effects of tools, without what was written in them."""

import asyncio
import json

import pytest

from tom.accounts.opening import open_file
from tom.agent.acts import Acts
from tom.audit.chain import Chain
from tom.clock import SystemClock
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P21")]

SAID = "the-secret-of-the-house"


@pytest.fixture
async def chain(tmp_path):
    database = await open_file(tmp_path / "door.db", SystemClock())
    chain = await Chain.open(database, SystemClock(), tmp_path)
    yield chain
    await chain.close()
    await database.close()


async def test_what_was_allowed_and_done_is_recorded(open_cell, connect, llm, chain):
    toolbox = MemoryToolbox()

    async def send(text):
        return f"sent {text}"

    async def look():
        return SAID

    anything = {"type": "object", "properties": {"text": {"type": "string"}}}
    toolbox.add(send, service="post", parameters=anything, tool_class=ToolClass.DESTRUCTIVE)
    toolbox.add(look, service="post", parameters={"type": "object"}, tool_class=ToolClass.READ_PRIVATE)
    llm.reply(
        Script.tool_calls(("look", {})), Script.tool_calls(("send", {"text": SAID})), Script.text("done")
    )  # fmt: skip
    async with open_cell(toolbox, services=("post",)) as cell:
        acts = Acts(chain, "alice")
        acts.listen(cell.feed)
        serving = asyncio.ensure_future(acts.serve())
        client = connect(cell, device="a phone")
        await client.do("chat", "r1", text="send it")
        asked = await client.first(
            lambda frame: frame["status"] == "processing" and frame["chunk"].get("type") == "waiting"
        )
        ask = asked["chunk"]["metadata"]
        await client.do(
            "approve", "a1", approval_id=ask["approval_id"], decision="allow", arguments_digest=ask["arguments_digest"]
        )
        await client.end_of("r1")
        serving.cancel()
        await asyncio.wait([serving])
    await chain.close()
    rows = [row.told() for row in await chain.rows()]
    assert [(row["kind"], row["who"], row["subject"]) for row in rows] == [
        ("approval.answered", "alice", ask["approval_id"]), ("effect", "alice", "post.send"),
    ]  # fmt: skip
    assert rows[0]["source"] == "a phone"
    assert rows[0]["after"]["decision"] == "allow"
    assert (rows[1]["after"]["state"], rows[1]["after"]["class"]) == ("done", "destructive")
    assert SAID not in json.dumps(rows)
    assert (await chain.verify()).ok
