"""What each event carries, where it is more than its arguments."""

from tom.conversation import event as happened
from tom.conversation import upkeep
from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.label import CLEAN, Label
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
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


def test_a_completed_run_carries_what_else_is_to_be_told():
    more = {"warnings": ["careful"]}
    ended = happened.run_completed("c1", run_id="r1", usage=Usage(), finish_reason="stop", hops=1, more=more)
    assert (ended.extra["warnings"], ended.extra["hops"]) == (["careful"], 1)


WEB = Label(frozenset({"web.fetch"}), frozenset({"mail"}))


def test_labels_go_with_what_they_are_of(story):
    sent = story.asks("r1", attachments=[{"type": "text", "name": "a.txt", "file": "f"}], label=WEB)
    said = happened.model_replied(
        "c1", "x", run_id="r1", turn=0, attempt=1, finish_reason="stop", model="m", usage=Usage(), label=WEB,
        dropped_options=("thinking",),
    )  # fmt: skip
    tool = ToolDefinition("fetch", "web", "fetch", "", {})
    returned = happened.tool_returned(
        "c1", "x", run_id="r1", turn=0, call_id="a", is_error=True, duration_ms=0, tool=tool, label=WEB,
        denied="policy", attachments=[{"type": "image", "media_type": "image/png", "file": "g"}],
    )  # fmt: skip
    summary = upkeep.history_compacted("c1", "x", first_seq=1, through_seq=2, label=WEB)
    for event in (sent, said, returned, summary):
        assert (event.label, event.extra["taint"]) == (WEB, True)
    assert sent.extra["attachments"][0]["name"] == "a.txt"
    assert (returned.extra["denied"], returned.extra["attachments"][0]["file"]) == ("policy", "g")
    assert upkeep.history_compacted("c1", "x", first_seq=1, through_seq=2).label == CLEAN


def test_an_intent_says_what_it_rests_on(story):
    plain = story.intends("r1", "a")
    asked = happened.tool_called(
        "c1", run_id="r1", turn=0, call_id="a", service="notes", tool="add", arguments={}, digest="d",
        tool_class=ToolClass.WRITE_OWN, key="k", reason="a rule", approval_id="ask",
    )  # fmt: skip
    assert not {"reason", "approval_id"} & set(plain.extra)
    assert (asked.extra["reason"], asked.extra["approval_id"]) == ("a rule", "ask")


def test_choices_and_upkeep_are_told():
    chosen = upkeep.triage_decided("c1", run_id="r1", services=("a",), level=2, ms=5, how="model", reason="mail")
    anew = upkeep.triage_decided("c1", run_id="r1", services=(), level=0, ms=0, how="skipped", fresh_start=True)
    assert (chosen.extra["reason"], chosen.extra["services"], anew.extra["fresh_start"]) == ("mail", ["a"], True)
    assert not {"reason"} & set(anew.extra)
    fell = upkeep.llm_fell_back("c1", run_id="r1", turn=0, attempt=2, source="a", target="b", reason="x")
    assert (fell.extra["from"], fell.extra["to"]) == ("a", "b")
    assert upkeep.history_retired("c1", first_seq=9, events=8).extra == {"first_seq": 9, "events": 8}
    assert upkeep.conversation_changed("c1", {"pinned": True}).extra == {"pinned": True}


def test_every_message_is_counted_when_it_is_made(story):
    assert story.asks("r1", "four words are here").token_count == estimate_tokens("four words are here") + 3
    assert story.starts("r1").token_count == 0
    assert happened.prompt_set("c1", "").token_count == MESSAGE_OVERHEAD


def test_events_of_the_conversation_itself_belong_to_no_run():
    opened = happened.conversation_opened("c1", surface="web", metadata={"a": 1})
    assert (opened.run_id, opened.turn, opened.extra["metadata"]) == ("", 0, {"a": 1})


def test_calls_that_a_model_gave_one_id_are_told_apart():
    calls = tuple(
        ToolCall(call_id, "send", text) for call_id, text in (("a", "1"), ("b", "2"), ("a", "3"), ("a~2", "4"))
    )
    replied = happened.model_replied(
        "c1", "", run_id="r1", turn=0, attempt=1, finish_reason="tool_calls", model="m", usage=Usage(), tool_calls=calls
    )
    assert [(call.id, call.arguments) for call in replied.tool_calls] == [
        ("a", "1"), ("b", "2"), ("a~2", "3"), ("a~2~2", "4"),
    ]  # fmt: skip


def test_what_was_wrong_with_a_call_is_kept_as_data():
    wrong = {"tool_name": "send", "validation_errors": []}
    returned = happened.tool_returned(
        "c1", "Invalid", run_id="r1", turn=0, call_id="a", is_error=True, duration_ms=0, data=wrong
    )
    assert returned.extra["data"] == wrong
