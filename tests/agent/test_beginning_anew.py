"""A fresh start is the person's own explicit wish, in many languages; no greeting is one."""

import json
from pathlib import Path

import pytest

from tom.agent.afreshwords import WORDS, wishes_afresh
from tom.agent.triage import FRESH, SELECT, read_decision
from tom.conversation.part import ToolCall
from tom.conversation.usage import NOTHING
from tom.llm.provider import Reply

CASES = json.loads((Path(__file__).parent / "cases" / "begin_anew.json").read_text())


def decision(text, *calls):
    reply = Reply("", tuple(ToolCall("c1", name, arguments) for name, arguments in calls), "tool_calls", NOTHING, "m")
    return read_decision(reply, ("weather",), text)


@pytest.mark.parametrize("text", CASES["wishes"])
def test_an_explicit_wish_is_heard(text):
    assert decision(text, (FRESH, "{}")).fresh_start


@pytest.mark.parametrize("text", CASES["greetings"])
def test_a_greeting_never_resets_anything_whatever_a_model_says(text):
    assert decision(text, (FRESH, "{}")) is None
    chosen = decision(text, (FRESH, "{}"), (SELECT, '{"modules_name": ["weather"]}'))
    assert (chosen.fresh_start, chosen.services) == (False, ("weather",))


@pytest.mark.parametrize("language", WORDS)
def test_each_phrase_is_found_in_what_contains_it(language):
    assert [phrase for phrase in WORDS[language] if not wishes_afresh(f"Hm, {phrase.upper()}!")] == []


def test_no_call_is_no_decision_and_an_empty_list_is_one():
    assert decision("hi") is None
    assert decision("hi", (SELECT, '{"modules_name": []}')).services == ()
