"""``tom triage replay`` as an operator uses it: a table of cases, a real house, an exit status."""

import asyncio
import json
import sys

import pytest

from tom.cli.output import Refused
from tom.cli.triage import read_cases
from tom.testing.simulated_llm import Fault, Script

SELECT = "modules_needed_to_answer_user_prompt"
CASES = """
cases:
  - {text: "Will it rain?", services: [weather], level: 1}
  - {text: "Play something", services: [music, weather]}
  - {text: "Why is the sky blue?", services: []}
  - {text: "Broken tides", services: tides}
"""


async def tom(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tom.cli.main", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.anyio
@pytest.mark.slow
async def test_cases_are_asked_of_the_real_triage_and_its_accuracy_is_told(open_house, llm, tmp_path):
    services = {
        name: {"url": "http://127.0.0.1:9/mcp", "description": f"All about {name}"}
        for name in ("calendar", "music", "tides", "weather")
    }
    llm.when("rain", Script.tool_calls((SELECT, {"modules_name": ["weather"], "level": 1})))
    llm.when("play", Script.tool_calls((SELECT, {"modules_name": ["music"]})))
    llm.when("blue", Script.tool_calls((SELECT, {"modules_name": []})))
    llm.when("broken", Script.fault(Fault.UNAUTHORIZED))
    house = await open_house(services)
    file = tmp_path / "cases.yml"
    file.write_text(CASES)
    given = ("triage", "replay", str(file), "--user", "alice", "--data", str(house.directory))
    code, out, err = await tom(*given, "--json")
    report = json.loads(out)
    assert code == 1, err
    assert (report["total"], report["right"], report["accuracy"]) == (4, 2, 50.0)
    assert [case["right"] for case in report["cases"]] == [True, False, True, False]
    assert report["cases"][0]["decision"]["services"] == ["weather"]
    assert report["cases"][3]["decision"]["how"] == "fallback"
    assert "All about weather" in str(llm.requests[0].messages)
    code, out, _ = await tom(*given, "--least", "50")
    assert code == 0
    assert "❌  Play something" in out
    assert "2 of 4 right (50.0 %): services 3, levels 4, 1 without the model's choice" in out


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_cases_can_be_json_and_csv(tmp_path, ending):
    file = tmp_path / f"cases.{ending}"
    if ending == "json":
        file.write_text(json.dumps([{"text": "a", "services": ["x", "y"], "level": 2}, {"text": "b"}]))
    else:
        file.write_text('text,services,level\na,"x, y",2\nb,,\n')
    assert [(case.text, sorted(case.services), case.level) for case in read_cases(file)] == [
        ("a", ["x", "y"], 2),
        ("b", [], None),
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "there are no cases"),
        ("- {services: [x]}", "case 1 has no text"),
        ("- {text: a}\n- {text: b, level: 3}", "the level of case 2 must be 0, 1 or 2"),
        ("- {text: a, services: [1]}", "the services of case 1"),
        ("- 7", "case 1 is not a mapping"),
        ("- {text: [", "cases.yml"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_place(tmp_path, text, part):
    file = tmp_path / "cases.yml"
    file.write_text(text)
    with pytest.raises(Refused) as refused:
        read_cases(file)
    assert part in refused.value.message
    assert refused.value.status == 2
