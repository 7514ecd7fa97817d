"""`/process` and `/reset` read what they are asked in the order and words of the contract."""

import json
from pathlib import Path

import pytest

from tom.agent.asked import InvalidRequest, read_client_type, read_process

CASES = json.loads((Path(__file__).parent / "cases" / "process_refused.json").read_text())


@pytest.mark.parametrize(("body", "message"), CASES)
@pytest.mark.promise("P23")
def test_a_bad_value_gets_the_sentence_of_the_table(body, message):
    with pytest.raises(InvalidRequest) as refused:
        read_process(body)
    assert refused.value.message == message


def test_of_several_bad_values_the_first_of_the_table_is_named():
    wrong = {
        "request": 5, "client_type": "x", "position": [], "sound_enabled": 1, "request_id": "a b",
        "conversation_id": "../x", "level": 3, "timezone": "Mars", "temporary": 1,
    }  # fmt: skip
    good = {"request": "x", "client_type": "web", "position": None, "sound_enabled": True, "request_id": "r",
            "conversation_id": "c", "level": 1, "timezone": "UTC", "temporary": True}  # fmt: skip
    sentences = dict.fromkeys(wrong, "")
    for name in wrong:
        with pytest.raises(InvalidRequest) as refused:
            read_process(wrong)
        sentences[name] = refused.value.message
        wrong = {**wrong, name: good[name]}
    parts = ["'request'", "client_type", "position", "'sound_enabled'", "'request_id'", "Conversation", "level",
             "time zone", "'temporary'"]  # fmt: skip
    assert [part in sentence for part, sentence in zip(parts, sentences.values(), strict=True)] == [True] * 9
    assert read_process(wrong).options == {"level": 1, "sound": True, "temporary": True}


def test_everything_optional_has_its_default():
    asked = read_process({"request": " hi "})
    assert (asked.text, asked.client_type, asked.sound_enabled, asked.conversation_id) == (" hi ", "web", False, None)
    assert asked.request_id.startswith("auto-")
    assert asked.options == {}


def test_what_is_not_known_is_ignored_and_named():
    assert read_process({"request": "hi", "zebra": 1, "apple": True}).ignored == ("apple", "zebra")


def test_nul_and_lone_surrogates_become_replacement_characters():
    assert read_process({"request": "a\0b\ud800c"}).text == "a\ufffdb\ufffdc"


def test_place_and_zone_are_taken():
    asked = read_process(
        {"request": "x", "position": {"latitude": 48.85, "longitude": 2}, "timezone": "Europe/Paris", "level": 2}
    )
    assert asked.around.position == {"latitude": 48.85, "longitude": 2.0}
    assert asked.around.timezone == "Europe/Paris"
    assert asked.options == {"level": 2}


def test_a_reset_without_a_body_is_for_the_web_client():
    assert read_client_type(None) == "web"
    assert read_client_type({"client_type": "tui"}) == "tui"
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        read_client_type([])
