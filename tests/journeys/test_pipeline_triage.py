"""Triage through `/process`: when it is asked, what it is sent, what is made of its answer."""

import asyncio
import json

import pytest

from tom.agent.submission import Submission
from tom.clock import SystemClock
from tom.config.agent import LimitSettings, Price, ServiceEntry, TriageSettings
from tom.conversation import upkeep
from tom.conversation.event import EventType
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.store.memory import MemoryEventStore
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SELECT, FRESH = "modules_needed_to_answer_user_prompt", "start_new_conversation"
NAMES = ("calendar", "music", "tides", "weather")


def some_services(toolbox, *names, **changes):
    async def look():
        return "looked"

    for name in names:
        toolbox.add(look, service=name, name=f"{name}_look", description=f"Looks at {name}.\nMore.",
                    tool_class=ToolClass.READ_PUBLIC)  # fmt: skip
    return [ServiceEntry(name=name, **changes.get(name, {})) for name in names]


@pytest.fixture
def four(open_pipeline):
    """An agent with four services, so that triage is asked."""

    def open_four(toolbox=None, changes=None, **settings):
        toolbox = toolbox or MemoryToolbox()
        return open_pipeline(toolbox, some_services(toolbox, *NAMES, **(changes or {})), **settings)

    return open_four


async def decided(pipeline, answer):
    events = await pipeline.events(answer.get("old_id") or answer["conversation_id"])
    return [event for event in events if event.type == EventType.TRIAGE_DECIDED][-1]


def modules_in(request):
    text = next(m["content"] for m in request.messages if m["content"].startswith('{"available_modules"'))
    return {module["name"]: module["description"] for module in json.loads(text)["available_modules"]}


# --- asking ------------------------------------------------------------------------------------------------------


async def test_few_services_are_all_selected_without_a_model_call(open_pipeline, llm):
    toolbox = MemoryToolbox()
    async with open_pipeline(toolbox, some_services(toolbox, "music", "tides", "weather")) as pipeline:
        answer = await pipeline.process("hi")
        decision = await decided(pipeline, answer)
    assert pipeline.models.sent("triage") == []
    assert answer["selected_modules"] == ["music", "tides", "weather"]
    assert decision.extra["how"] == "skipped"


async def test_the_model_of_level_0_chooses_services_and_only_their_tools_are_on_offer(four):
    async with four(llm_triage="sorter", llms={"sorter": {"name": "sorter", "models": ("tiny", "x", "x")}}) as pipeline:
        pipeline.models.choose("weather", "weather", "nonsuch", level=2)
        answer = await pipeline.process("will it rain?")
        (question,) = pipeline.models.sent("triage")
        (request,) = pipeline.models.sent()
        decision = await decided(pipeline, answer)
    assert question.json["model"] == "tiny"
    assert question.tool_names == [SELECT, FRESH]
    listed = question.json["tools"][0]["function"]["parameters"]["properties"]["modules_name"]
    assert listed["items"]["enum"] == list(NAMES)
    assert request.tool_names == ["weather_look"]
    assert request.json["model"] == "large"
    assert (answer["selected_modules"], answer["level"]) == (["weather"], 2)
    assert (decision.extra["services"], decision.extra["level"], decision.extra["how"]) == (["weather"], 2, "model")
    assert decision.extra["ms"] >= 0
    assert decision.usage.total_tokens > 0


async def test_triage_sees_persona_window_modules_memories_and_time(open_pipeline):
    toolbox = MemoryToolbox()

    async def search_memories(query, limit):
        return {"results": [{"id": "m1", "memory": "Alice lives in Lyon", "score": 1.0}]}

    schema = {"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}}}
    toolbox.add(search_memories, service="memory", parameters=schema)
    services = [*some_services(toolbox, *NAMES), ServiceEntry(name="memory", trust="trusted")]
    async with open_pipeline(toolbox, services, persona_name="Tim") as pipeline:
        await pipeline.process("said before")
        await pipeline.process("will it rain?")
        question = pipeline.models.sent("triage")[-1]
        text = [message["content"] for message in question.messages]
    order = ["You are Tim", "available_modules", "said before", "Alice lives in Lyon", "temporal_context",
             "will it rain?"]  # fmt: skip
    places = [next(at for at, said in enumerate(text) if part in said) for part in order]
    assert places == sorted(places)
    assert question.messages[-1] == {"role": "user", "content": "will it rain?"}


async def test_modules_are_described_by_the_admin_else_by_themselves(four):
    toolbox = MemoryToolbox()
    toolbox.set_description("calendar", "calendar", "never read")
    toolbox.set_description("music", "server", "Plays \u200bmusic. " + "x" * 3000)
    toolbox.set_description("tides", "tides", "Tide tables.")
    async with four(toolbox, {"calendar": {"description": "The family's dates"}}) as pipeline:
        await pipeline.process("hi")
        modules = modules_in(pipeline.models.sent("triage")[0])
    assert modules["calendar"] == "The family's dates"
    assert modules["music"].startswith("Plays music. xxx")
    assert len(modules["music"]) <= 2000
    assert modules["tides"] == "Tide tables."
    assert set(modules) == set(NAMES)


async def test_a_service_that_is_still_connecting_is_named_all_the_same(four):
    toolbox = MemoryToolbox()
    toolbox.set_unavailable("weather", "still starting")
    async with four(toolbox) as pipeline:
        pipeline.models.choose("weather")
        answer = await pipeline.process("rain?")
        assert "weather" in modules_in(pipeline.models.sent("triage")[0])
    assert answer["warning"] == "Selected services unavailable, used general knowledge"


async def test_no_service_selected_is_answered_from_general_knowledge(four):
    async with four() as pipeline:
        pipeline.models.choose()
        answer = await pipeline.process("why is the sky blue?")
        (request,) = pipeline.models.sent()
    assert answer["selected_modules"] == []
    assert request.tool_names == []
    assert answer["level"] == 1


# --- falling back ------------------------------------------------------------------------------------------------

NONSENSE = [
    Script.fault(Fault.UNAUTHORIZED),
    Script.fault(Fault.EMPTY),
    Script.text("The music, I should think."),
    Script.tool_calls(("reboot", {})),
    Script.tool_calls((SELECT, "{")),
    Script.tool_calls((SELECT, {"modules_name": ["nonsuch"]})),
    Script.tool_calls((SELECT, {"modules_name": 7})),
]


@pytest.mark.parametrize("script", NONSENSE)
async def test_triage_that_fails_selects_what_the_text_and_the_previous_run_name(four, script):
    async with four() as pipeline:
        pipeline.models.choose("music")
        await pipeline.process("play something")
        pipeline.models.chosen = script
        answer = await pipeline.process("and the Tides?")
        decision = await decided(pipeline, answer)
    assert answer["status"] == "OK"
    assert answer["selected_modules"] == ["tides", "music"]
    assert decision.extra["how"] == "fallback"
    assert "warning" not in answer


async def test_with_nothing_to_go_by_all_services_up_to_forty_tools_are_selected(four):
    toolbox = MemoryToolbox()

    async def look():
        return "looked"

    for number in range(39):
        toolbox.add(look, service="tides", name=f"t{number}", tool_class=ToolClass.READ_PUBLIC)
    async with four(toolbox) as pipeline:
        pipeline.models.chosen = Script.fault(Fault.UNAUTHORIZED)
        answer = await pipeline.process("hm?")
        (request,) = pipeline.models.sent()
    assert answer["selected_modules"] == ["calendar", "music"]
    assert len(request.tool_names) <= 40


async def test_triage_that_takes_too_long_is_not_waited_for(four):
    async with four(triage=TriageSettings(skip_below=3, timeout=0.2)) as pipeline:
        pipeline.models.chosen = Script.text("slow answer", delay=1.0)
        async with asyncio.timeout(5):
            answer = await pipeline.process("the weather?")
        decision = await decided(pipeline, answer)
    assert answer["selected_modules"] == ["weather"]
    assert (decision.extra["how"], decision.extra["reason"]) == ("fallback", "timeout")


# --- level and language model ------------------------------------------------------------------------------------


async def test_the_level_is_the_highest_wanted_and_capped_for_the_user(open_pipeline):
    toolbox = MemoryToolbox()
    services = some_services(toolbox, "music", "tides", music={"complexity": 2}, tides={"complexity": 0})
    async with open_pipeline(toolbox, services) as pipeline:
        assert (await pipeline.process("hi"))["level"] == 2
        assert (await pipeline.process("hi", level=0))["level"] == 0
        assert pipeline.models.sent()[-1].json["model"] == "small"
    async with open_pipeline(toolbox, services, max_level=1) as pipeline:
        assert (await pipeline.process("hi"))["level"] == 1
        assert (await pipeline.process("hi", level=2))["level"] == 1
        assert pipeline.models.sent()[-1].json["model"] == "medium"


@pytest.mark.parametrize(
    ("cost_per_day", "asked", "level", "model"),
    [(100.0, None, 1, "medium"), (10.0, 2, 1, "medium"), (1.0, None, 0, "small"), (1.0, 2, 0, "small")],
)
async def test_the_level_is_capped_by_what_is_left_of_the_day(open_pipeline, cost_per_day, asked, level, model):
    prices = tuple(Price(input=price, output=price) for price in (1.0, 100.0, 1000.0))
    limits = LimitSettings(cost_per_day=cost_per_day, cost_per_run=100.0)
    async with open_pipeline(MemoryToolbox(), llms={"simulated": {"price": prices}}, limits=limits) as pipeline:
        answer = await pipeline.process("hi", **({} if asked is None else {"level": asked}))
        decision = await decided(pipeline, answer)
    assert (answer["status"], answer["level"], answer["model"]) == ("OK", level, model)
    capped = (asked or 1) != level
    assert (decision.extra["reason"] == "level of what is left of the day") == capped


async def test_the_llm_is_the_common_one_of_the_selected_services_else_the_default(four):
    own = {"llm": "own"}
    llms = {"own": {"name": "own", "models": ("own-s", "own-m", "own-l")}}
    async with four(changes={"music": own, "tides": own}, llms=llms) as pipeline:
        pipeline.models.choose("music", "tides")
        assert (await pipeline.process("a"))["model"] == "own-m"
        pipeline.models.choose("music", "weather")
        assert (await pipeline.process("b"))["model"] == "medium"
        pipeline.models.choose()
        assert (await pipeline.process("c"))["model"] == "medium"


# --- beginning anew ----------------------------------------------------------------------------------------------


async def test_an_explicit_wish_begins_a_new_conversation_and_greets(four):
    async with four() as pipeline:
        first = await pipeline.process("a secret of the old conversation")
        pipeline.models.chosen = Script.tool_calls((FRESH, {}))
        pipeline.models.answers = [Script.text("Hello again!")]
        answer = await pipeline.process("let us start over", request_id="r1")
        request = pipeline.models.sent()[-1]
        pipeline.models.choose()
        after = await pipeline.process("hi")
        again = await pipeline.get("/process/r1")
    assert answer["conversation_reset"] is again["conversation_reset"] is True
    assert answer["response"] == "Hello again!"
    assert answer["conversation_id"] != first["conversation_id"]
    assert after["conversation_id"] == answer["conversation_id"] == again["conversation_id"]
    assert "secret" not in str(request.messages)
    assert request.tool_names == []


async def test_a_greeting_never_resets_anything(four):
    async with four() as pipeline:
        first = await pipeline.process("before")
        pipeline.models.chosen = Script.tool_calls((FRESH, {}))
        for text in ("Guten Tag", "hi there, how are you?", "good night", "سلام", "こんにちは", "Привет, как дела?"):
            answer = await pipeline.process(text)
            assert answer["conversation_id"] == first["conversation_id"], text
            assert "conversation_reset" not in answer
            assert answer["response"] == "ok"
            assert (await decided(pipeline, answer)).extra["how"] == "fallback"


# --- pins, wishes, restarts --------------------------------------------------------------------------------------


async def test_pinned_services_are_always_in_and_triage_only_adds(four):
    async with four() as pipeline:
        pipeline.models.choose("weather")
        first = await pipeline.process("rain?")
        pin = upkeep.conversation_changed(first["conversation_id"], {"services": ["music"]})
        await pipeline.cell.store.append([pin])
        answer = await pipeline.process("and now?")
    assert answer["selected_modules"] == ["music", "weather"]


async def test_services_and_tool_named_by_the_request_need_no_triage(four):
    async with four() as pipeline:
        options = {"services": ["tides"], "tool_name": "music.music_look"}
        message = Submission("look", "r1", "web", options=options)
        accepted = await pipeline.cell.conversations.accept(message)
        pipeline.models.answers = [Script.tool_calls(("music_look", {})), Script.text("done")]
        while not (await pipeline.cell.conversations.run(accepted.run.id)).state.ended:
            await asyncio.sleep(0.01)
        first, second = pipeline.models.sent()
        assert pipeline.models.sent("triage") == []
    assert first.tool_names == ["music_look"]
    assert sorted(second.tool_names) == ["music_look", "tides_look"]


async def test_a_decision_is_kept_over_a_restart(four):
    store = MemoryEventStore(clock=SystemClock())
    async with four(store=store) as pipeline:
        pipeline.models.choose("weather")
        pipeline.models.answers = [Script.text("slowly " * 400, delay=0.05)]
        asking = asyncio.ensure_future(pipeline.process("rain?", request_id="r1"))
        while not pipeline.models.sent():
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
    async with four(store=store) as pipeline:
        async with asyncio.timeout(10):
            while (answer := await pipeline.get("/process/r1")).get("state") == "running":
                await asyncio.sleep(0.01)
        asked = pipeline.models.sent("triage")
    assert answer["selected_modules"] == ["weather"]
    assert len(asked) == 1
