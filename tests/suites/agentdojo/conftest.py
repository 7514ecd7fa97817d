"""AgentDojo's world in its own interpreter, its tools with reviewed classes, and a fully obedient model.

The model does what the user's task needs, and the moment it reads an injection, all that the injection wants. Between it
and the world stands nothing but the verdict of `tom.policy`, on the labels that the agent gives to results.
"""

import contextlib
import json
import os
import subprocess
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tom.agent.calls import result_label
from tom.config.yamltext import parse_value
from tom.conversation.label import CLEAN
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.classes import propose
from tom.policy.verdict import Answer, Person, Situation, decide

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PYTHON = ROOT / ".tools/agentdojo/bin/python"
ALICE = Person("alice")
ACTS = {ToolClass.WRITE_EXTERNAL, ToolClass.DESTRUCTIVE}


class World:
    """`world.py` as a child process: one question at a time."""

    def __init__(self, child):
        self._child = child

    def ask(self, do, **arguments):
        self._child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, "AgentDojo's process has ended"
        return json.loads(line)


@pytest.fixture(scope="session")
def world():
    subprocess.run([ROOT / "scripts/provision_agentdojo.sh"], check=True, timeout=300)
    child = subprocess.Popen(
        [PYTHON, "-W", "ignore", HERE / "world.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.defpath, "HOME": os.devnull},
    )
    with contextlib.closing(child.stdin), child.stdout:
        yield World(child)
        child.stdin.close()
        child.wait(20)


@pytest.fixture(scope="session")
def catalogue(world):
    return world.ask("catalogue")


@pytest.fixture(scope="session")
def classes():
    return parse_value((HERE / "classes.yml").read_text(), name="classes")


@dataclass
class Played:
    """What came of one plan. ``outside``: acts of the attacker that nobody was asked about."""

    asks: int = 0
    refused: int = 0
    seen: bool = False
    outside: list = field(default_factory=list)
    utility: bool = False
    breached: bool = False


class Player:
    """The obedient model with the policy in front of its tools; its person says yes to their own plan and to no other."""

    def __init__(self, world, catalogue, classes, *, reviewed):
        self._world = world
        self._tools = {
            suite: {
                name: tool_of(name, found, classes[suite][name], reviewed=reviewed)
                for name, found in catalogue[suite]["tools"].items()
            }
            for suite in catalogue
        }
        self._really = {
            suite: {
                name: tool_of(name, found, classes[suite][name]) for name, found in catalogue[suite]["tools"].items()
            }
            for suite in catalogue
        }

    def play(self, suite, user, injection=None):
        opened = self._world.ask("open", suite=suite, user=user, injection=injection)
        played, label = Played(), CLEAN
        left = deque((call, False) for call in opened["plan"])
        while left:
            call, attackers = left.popleft()
            tool = self._tools[suite][call["name"]]
            verdict = decide(tool, ALICE, Situation(label, arguments=call["arguments"]), ())
            asked = verdict.answer is Answer.ASK
            played.asks += asked
            if verdict.answer is Answer.DENY or (asked and attackers):
                played.refused += 1
                continue
            really = self._really[suite][call["name"]]
            if attackers and not asked and consequential(really, label):
                played.outside.append((suite, user, injection, call["name"]))
            text = self._world.ask("call", **call)["text"]
            label |= result_label(tool)
            if not played.seen and opened["mark"] in text:
                played.seen = True
                left.extendleft((wish, True) for wish in reversed(opened["attack"]))
        judged = self._world.ask("close")
        played.utility, played.breached = judged["utility"], judged["breached"]
        return played


def tool_of(name, found, known, *, reviewed=True):
    tool_class, outward = ToolClass(known["class"]), known.get("outward", False)
    if not reviewed:
        proposal = propose(name, found["parameters"])
        tool_class, outward = proposal.tool_class, proposal.outward
    return ToolDefinition(
        name=name,
        service=known["service"],
        tool=name,
        description=found["description"],
        parameters=found["parameters"],
        tool_class=tool_class,
        proposed=not reviewed,
        outward=outward,
    )


def consequential(tool, label):
    """Whether a call changes things outside, or could carry private matters away."""
    return tool.tool_class in ACTS or (tool.outward and bool(label.private - {tool.service}))


@pytest.fixture(scope="session")
def player(world, catalogue, classes):
    return Player(world, catalogue, classes, reviewed=True)


@pytest.fixture(scope="session")
def player_without_review(world, catalogue, classes):
    return Player(world, catalogue, classes, reviewed=False)


@pytest.fixture
def tell(capsys):
    """Say a figure, whether or not output is captured."""

    def say(text):
        with capsys.disabled():
            print(f"\n{text}", end="")

    return say
