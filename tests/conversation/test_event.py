"""What each event carries, where it is more than its arguments."""

from tom.conversation import event as happened
from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.usage import Usage, estimate_tokens


def test_options_and_metadata_are_carried_only_when_there_are_any(story):
    plain = story.asks("r1")
    rich = story.asks("r2", options={"level": 2}, metadata={"shop": 1})
    assert set(plain.extra) == {"run_id", "payload_digest", "surface"}
    assert (rich.extra["options"], rich.extra["metadata"]) == ({"level": 2}, {"shop": 1})


def test_a_reply_says_when_it_is_partial_and_what_was_thought():
    reply = happened.model_replied(
        "c1", "half", run_id="r1", turn=0, attempt=1, finish_reason="cancelled", model="m", usage=Usage(),
        thinking="hm", partial=True,
    )  # fmt: skip
    assert (reply.extra["partial"], reply.extra["thinking"]) == (True, "hm")


def test_a_result_without_a_tool_names_none_and_a_cut_one_says_so():
    refused = happened.tool_returned(
        "c1", "Tool 'x' not found", run_id="r1", turn=0, call_id="a", is_error=True, duration_ms=0, truncated=True
    )
    assert "service" not in refused.extra
    assert refused.extra["truncated"] is True


def test_a_completed_run_carries_its_warning():
    ended = happened.run_completed("c1", run_id="r1", usage=Usage(), finish_reason="stop", hops=1, warning="careful")
    assert ended.extra["warnings"] == ["careful"]


def test_every_message_is_counted_when_it_is_made(story):
    assert story.asks("r1", "four words are here").token_count == estimate_tokens("four words are here") + 3
    assert story.starts("r1").token_count == 0
    assert happened.prompt_set("c1", "").token_count == MESSAGE_OVERHEAD


def test_events_of_the_conversation_itself_belong_to_no_run():
    opened = happened.conversation_opened("c1", surface="web", metadata={"a": 1})
    assert (opened.run_id, opened.turn, opened.extra["metadata"]) == ("", 0, {"a": 1})
