"""The command-line program ``llm`` as client of a standalone agent."""

import base64
import json

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.services, pytest.mark.promise("P24")]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MULTIPLY = "def multiply(a: int, b: int) -> int:\n    'The product'\n    return a * b\n"


def test_a_question_a_system_prompt_and_a_conversation(agent, llm_program):
    standing = agent()
    standing.llm.reply(Script.text("Good day."), Script.text("Guten Tag."), Script.text("You said hello."))
    assert llm_program(standing, "-m", "tom", "Hello").strip() == "Good day."
    assert llm_program(standing, "-m", "tom", "--no-stream", "-s", "Answer in German.", "Hello").strip() == "Guten Tag."
    assert "Answer in German." in standing.llm.requests[-1].system_text
    assert llm_program(standing, "-c", "What did I say?").strip() == "You said hello."
    said = [(one["role"], one["content"]) for one in standing.llm.requests[-1].messages if one["role"] != "system"]
    assert said == [("user", "Hello"), ("assistant", "Guten Tag."), ("user", "What did I say?")]


def test_a_picture_options_and_a_schema(agent, llm_program, tmp_path):
    standing = agent()
    (tmp_path / "dot.png").write_bytes(PIXEL)
    standing.llm.reply(Script.text("A dot."), Script.text('{"name": "Paris"}'))
    assert llm_program(standing, "-m", "tom", "-a", str(tmp_path / "dot.png"), "What is it?").strip() == "A dot."
    assert base64.b64encode(PIXEL).decode() in standing.llm.requests[-1].body.decode()
    words = ("-m", "tom", "-o", "temperature", "0.2", "-o", "seed", "7", "--schema", "name str", "A city")
    assert json.loads(llm_program(standing, *words)) == {"name": "Paris"}
    asked = standing.llm.requests[-1].json
    assert (asked["temperature"], asked["seed"], asked["response_format"]["type"]) == (0.2, 7, "json_schema")


def test_a_function_of_its_own(agent, llm_program):
    standing = agent()
    standing.llm.reply(Script.tool_calls(("multiply", {"a": 6, "b": 7})), Script.text("It is 42."))
    told = llm_program(standing, "-m", "tom", "--functions", MULTIPLY, "What is 6 times 7?")
    assert told.strip() == "It is 42."
    assert "42" in standing.llm.requests[-1].last_results[0]


def test_a_failure_is_an_exit_status_and_a_sentence(agent, llm_program):
    standing = agent()
    standing.llm.otherwise(Script.fault("unauthorized"))
    told = llm_program(standing, "-m", "tom", "Hello", ok=False)
    assert "Traceback" not in told
    assert "Error" in told
