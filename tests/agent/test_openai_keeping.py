"""How long calls of `/v1` are kept that stood for themselves."""

import pytest

from tom.agent.expiring import Expiring
from tom.agent.steadiness import Steadiness
from tom.config.agent import DoorSettings
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

HOUR = 3600
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def pass_hours(cell, clock, hours):
    for _ in range(hours):
        clock.advance(HOUR)
        await cell.upkeep.hourly()


async def there(cell, *conversations):
    return [row.id for row in await cell.store.conversations(ids=conversations)]


@pytest.mark.promise("P20")
async def test_a_call_is_erased_a_day_after_its_last_use_and_a_conversation_is_not(open_cell, v1, llm):
    clock = ManualClock()
    llm.otherwise(Script.text("ok"))
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    async with open_cell(clock=clock) as cell, v1(cell) as client:
        await cell.upkeep.hourly()
        _, alone = await client.post([{"role": "user", "content": [picture]}])
        await client.post("Hello!", headers={"X-Tom-Conversation": "c1"})
        call = alone["tom"]["conversation_id"]
        await pass_hours(cell, clock, 20)
        await client.post("Once more", headers={"X-Tom-Conversation": call})
        await pass_hours(cell, clock, 23)
        assert await there(cell, call) == [call], "it was used meanwhile"
        assert cell.files.has_any(call)
        await pass_hours(cell, clock, 2)
        assert await there(cell, call, "c1") == ["c1"]
        assert not cell.files.has_any(call)


async def test_the_hours_are_those_of_the_settings(open_cell, v1, llm):
    clock = ManualClock()
    llm.otherwise(Script.text("ok"))
    async with open_cell(clock=clock, more={"doors": DoorSettings(api_retention_hours=2)}) as cell, v1(cell) as client:
        await cell.upkeep.hourly()
        _, alone = await client.post("Hello!")
        await pass_hours(cell, clock, 1)
        assert await there(cell, alone["tom"]["conversation_id"])
        await pass_hours(cell, clock, 2)
        assert not await there(cell, alone["tom"]["conversation_id"])


async def test_on_the_word_of_one_reading_of_the_clock_nothing_is_erased(open_cell, v1, llm):
    clock = ManualClock()
    llm.otherwise(Script.text("ok"))
    async with open_cell(clock=clock) as cell, v1(cell) as client:
        _, alone = await client.post("Hello!")
        call = alone["tom"]["conversation_id"]
        clock.advance(48 * HOUR)
        started_anew = Expiring(
            cell.store,
            Steadiness(clock, boot_id="another"),
            lambda name, due: cell.conversations.erase(name, only_if=due),
            hours=24,
        )
        await started_anew.apply_all()
        assert await there(cell, call)
        clock.advance(HOUR)
        await started_anew.apply_all()
        assert not await there(cell, call)


async def test_a_call_that_waits_for_its_person_is_kept_until_it_has_ended(open_cell, v1, llm, until):
    clock, toolbox = ManualClock(), MemoryToolbox()

    async def send(text=""):
        return f"sent {text}"

    toolbox.add(send, service="shop", parameters={"type": "object"}, tool_class=ToolClass.WRITE_EXTERNAL)
    llm.reply(Script.tool_calls(("send", {"text": "x"})), Script.text("Sent."))
    async with open_cell(clock=clock, toolbox=toolbox, services=["shop"]) as cell, v1(cell) as client:
        await cell.upkeep.hourly()
        _, body = await client.post("Tell Bob")
        call = body["tom"]["conversation_id"]
        await pass_hours(cell, clock, 30)
        (asked,) = await cell.approvals.pending()
        await cell.approvals.decide(
            asked["approval_id"], "allow", digest=asked["arguments_digest"], by="alice", device="a test"
        )
        await until(lambda: len(llm.requests) == 2)
        await until(lambda: cell.scheduler.unfinished_runs == 0)
        await pass_hours(cell, clock, 26)
        assert not await there(cell, call)
    assert [made.tool for made in toolbox.calls] == ["send"]


async def test_a_call_that_stands_for_itself_costs_no_title(open_cell, v1, llm, until):
    llm.otherwise(Script.text("ok"))
    async with open_cell(titles=True) as cell, v1(cell) as client:
        await client.post("Hello!", headers={"X-Tom-Conversation": "c1"})
        await until(lambda: len(llm.requests) == 2)
        await client.post("Hello!")
        await client.post("Hello!", headers={"X-Tom-Conversation": "c2"})
        await until(lambda: len(llm.requests) == 5)
    assert len(llm.requests) == 5, "two titles, three answers"
