"""The service that the page adds, in a real house: it is found, called, and says how its results are worded."""

import json

import pytest

from tom.cli.triage import read_cases
from tom.config.yamltext import parse_yaml
from tom.testing.house import House
from tom.testing.simulated_llm import Script, SimulatedLLM

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PAGE = "docs/howto/add-a-service.md"


async def test_the_weather_of_the_page_is_told_in_the_form_that_its_service_asks_for(blocks, tmp_path, repository):
    piece = next(block.text for block in blocks(PAGE) if block.language == "yaml")
    services = parse_yaml(piece.replace("${PWD}", str(repository)), name=PAGE)
    with SimulatedLLM() as llm:
        entry = {"api": "none", "base_url": llm.url, "models": "compatible/any"}
        model = {"llm": "simulated", "llms": {"simulated": entry}}
        chat = {"service": {"context": {"max_tokens": 32000}}}
        house = House(tmp_path / "house", {"global": model, "chat": chat, **services}, people=("alice",))
        await house.start()
        try:
            llm.reply(Script.tool_calls(("get_forecast", {"city": "Lyon", "days": 2})), Script.text("| 1 | clear |"))
            async with house.person("alice") as alice:
                answer = await alice.post("/process", {"request": "weather in Lyon?"})
                tasks = await alice.get("/tasks")
                status = await alice.get("/status")
        finally:
            await house.stop()
        first, second = [str(request.messages) for request in list(llm.requests)[:2]]
        results = [message for message in llm.requests[1].messages if message["role"] == "tool"]
    assert answer["response"] == "| 1 | clear |"
    assert answer["selected_modules"] == ["weather"]
    assert "A forecast needs a city." in first
    assert "one row per day" not in first
    assert "one row per day" in second
    assert json.loads(json.loads(results[0]["content"])["result"])["city"] == "Lyon"
    assert tasks["background_tasks"] == [{"module": "weather", "status": "made-up weather is ready"}]
    assert [(one["name"], one["status"]) for one in status["modules"]] == [("weather", "connected")]


def test_the_cases_of_the_page_can_be_read(blocks, tmp_path):
    (piece,) = [block.text for block in blocks(PAGE) if block.language == "yml"]
    file = tmp_path / "cases.yml"
    file.write_text(piece)
    cases = read_cases(file)
    assert [(case.text, sorted(case.services), case.level) for case in cases] == [
        ("Will it rain in Lyon?", ["weather"], 1),
        ("Why is the sky blue?", [], None),
    ]
