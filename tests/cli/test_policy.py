"""``tom policy``: verdicts told to the operator, asked of an agent that really runs."""

import json
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P14")]

SERVER = Path(__file__).resolve().parents[2] / "examples/household_server.py"
CONFIG = f"""
global: {{llm: scripted}}
services:
  mail:
    command: {sys.executable}
    args: [{SERVER}, mail]
    tools: {{classes: {{send_letter: write_external}}}}
policy:
  rules:
    - {{verdict: deny, tool: "*.send_letter", arguments: {{to: "*@evil.example"}}}}
    - {{verdict: allow, service: mail, tool: send_letter, even_when_tainted: true, arguments: {{to: bob}}}}
"""


@pytest.fixture
async def household(start, tmp_path, free_port, until):
    """An agent that runs alone; its address and what it says."""
    data = tmp_path / "alone"
    data.mkdir(mode=0o700)
    (data / "config.yml").write_text(CONFIG)
    (data / "config.yml").chmod(0o600)
    agent = start("agent", "--standalone", "--port", str(free_port), "--data", str(data))
    await until(agent.said("ws://"), seconds=30, what="the agent serves")
    return f"http://localhost:{free_port}", agent


async def test_verdicts_are_told_with_class_and_rule(household, tom):
    url, agent = household
    assert "policy.rules[1] allows mail.send_letter without being asked, even after untrusted text" in agent.text

    told = tom("policy", "explain", "mail.send_letter", "--url", url)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(
        "mail.send_letter for local: write_external (confirmed), its arguments leave the house"
    )
    assert len(told.stdout.splitlines()) == 8

    one = tom("policy", "explain", "send_letter", "--url", url, "--argument", 'to=["bob"]', "--tainted", "--json")
    (situation,) = json.loads(one.stdout)["situations"]
    assert (situation["situation"], situation["verdict"], situation["rule"]) == ("tainted", "allow", 2)

    denied = tom(
        "policy", "explain", "mail.send_letter", "--url", url, "--argument", "to=eve@evil.example", "--private"
    )
    assert denied.stdout.splitlines()[2:] == ["nothing untrusted read  deny     Rule 1 of the policy forbids it."]

    both = tom("policy", "explain", "mail.send_letter", "--url", url, "--tainted", "--private", "--json")
    assert [found["situation"] for found in json.loads(both.stdout)["situations"]] == ["tainted_private"]


async def test_a_tool_that_is_not_there_is_status_5_and_a_bad_argument_status_2(household, tom):
    url, _ = household
    missing = tom("policy", "explain", "mail.send_leter", "--url", url)
    assert missing.returncode == 5
    assert missing.stderr.startswith("❌ There is no tool 'mail.send_leter'; near: mail.send_letter")
    assert tom("policy", "explain", "mail.send_letter", "--url", url, "--argument", "to").returncode == 2


async def test_without_an_agent_nothing_can_be_explained(tom, free_port):
    assert tom("policy", "explain", "a.b", "--url", f"http://localhost:{free_port}").returncode == 7
