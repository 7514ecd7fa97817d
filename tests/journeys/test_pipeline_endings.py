"""How an answer ends through the doors of the pipeline: at the bound of turns, cut for its length, declined, plain."""

import json

import pytest

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Fault, Script

pytestmark = pytest.mark.anyio


def weather(toolbox):
    async def forecast(city):
        return {"city": city, "sky": "clear"}

    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    toolbox.add(forecast, service="weather", parameters=schema, tool_class=ToolClass.READ_PUBLIC)
    return ServiceEntry(name="weather")


async def test_at_the_bound_of_turns_one_last_call_without_tools_answers(open_pipeline):
    toolbox = MemoryToolbox()
    async with open_pipeline(toolbox, [weather(toolbox)], chat={"max_tool_hops": 2}) as pipeline:
        pipeline.models.answers = [Script.tool_calls(("forecast", {"city": "Lyon"}))] * 2 + [Script.text("So far.")]
        answer = await pipeline.process("weather?")
        last = pipeline.models.sent()[-1]
    assert last.tool_names == []
    assert (answer["status"], answer["response"]) == ("OK", "So far.")
    assert answer["warning"] == "Tool execution reached maximum iterations (2)"
    assert answer["iterations"] == 2


@pytest.mark.parametrize(
    "last",
    [Script.fault(Fault.SERVER_ERROR), Script.fault(Fault.EMPTY), Script.tool_calls(("forecast", {"city": "Lyon"}))],
)
async def test_at_the_bound_of_turns_a_last_call_that_brings_nothing_is_an_error_that_names_the_bound(
    open_pipeline, last
):
    toolbox = MemoryToolbox()
    async with open_pipeline(toolbox, [weather(toolbox)], chat={"max_tool_hops": 2}) as pipeline:
        pipeline.models.answers = [Script.tool_calls(("forecast", {"city": "Lyon"}))] * 2 + [last]
        answer = await pipeline.process("weather?")
        events = await pipeline.events(answer["conversation_id"])
        listed = await pipeline.get(f"/sessions/{answer['conversation_id']}/events")
    assert answer["status"] == "ERROR"
    assert answer["message"] == "Tool execution reached maximum iterations (2)"
    assert answer["iterations"] == 2
    assert (events[-1].type, events[-1].extra["finish_reason"]) == ("run.completed", "tool_limit_reached")
    text = "⚠️ Reached maximum tool call limit (2). Stopping to prevent infinite recursion."
    assert events[-2].content == text
    assert text in json.dumps(listed, ensure_ascii=False)


async def test_an_answer_cut_for_its_length_is_asked_for_once_more_and_then_given_with_a_warning(open_pipeline):
    async with open_pipeline(MemoryToolbox()) as pipeline:
        pipeline.models.answers = [Script.text("This is too", finish="length"), Script.text("All of it.")]
        whole = await pipeline.process("tell")
        pipeline.models.answers = [Script.text("Again too", finish="length")] * 3
        cut = await pipeline.process("tell more")
        asked = len(pipeline.models.sent())
        events = await pipeline.events(cut["conversation_id"])
    assert (whole["response"], "warning" in whole) == ("All of it.", False)
    assert (cut["status"], cut["response"]) == ("OK", "Again too")
    assert cut["warning"] == "The answer was cut off at the length limit"
    assert asked == 4
    failed = [event for event in events if event.type == "model.failed"]
    assert [event.extra["code"] for event in failed] == ["length", "length"]
    assert all(event.usage.total_tokens for event in failed), "it was paid for"
    assert events[-1].extra["finish_reason"] == "length"


async def test_a_model_that_declines_is_told_in_its_own_sentence(open_pipeline):
    async with open_pipeline(MemoryToolbox()) as pipeline:
        pipeline.models.answers = [Script(finish="content_filter")] * 2
        answer = await pipeline.process("tell")
    assert answer["status"] == "ERROR"
    assert answer["message"] == "The language model declined to answer."


async def test_frames_plain_in_the_address_makes_a_socket_plain(open_pipeline):
    async with open_pipeline(MemoryToolbox(), chat={"titles": False}) as pipeline:
        kept = {}
        for query in ("?frames=plain", "?frames=all", ""):
            async with pipeline.http.ws_connect(f"/ws/chat{query}") as socket:
                await socket.send_json({"action": "chat", "request_id": f"q{query[-1:]}", "payload": {"text": "hi"}})
                frames = [await socket.receive_json()]
                while frames[-1]["status"] != "complete":
                    frames.append(await socket.receive_json())
            kept[query] = {frame["status"] for frame in frames}
    assert kept["?frames=plain"] == {"chunk", "complete"}
    assert kept["?frames=all"] == kept[""] == {"accepted", "processing", "chunk", "complete"}
