"""What is kept in memory of a conversation is what the store says, or is not used."""

import pytest

from tom.agent.recall import KEPT, Recall
from tom.conversation import event as happened
from tom.conversation.history import RunHistory
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio


def run(number, text="four words are here"):
    asked = happened.message_received(
        "c", text, run_id=f"r{number}", request_id=f"q{number}", payload_digest="d", surface="ws"
    )
    return RunHistory(f"r{number}", asked)


def test_it_is_used_only_by_the_run_that_begins_at_the_very_next_number_and_once():
    recall = Recall(1000)
    recall.keep("c", 5, (run(1),))
    assert recall.take("c", 8) is None
    assert recall.take("c", 6) is None, "asking takes it out"
    recall.keep("c", 5, (run(1),))
    assert recall.take("c", 6).earlier == (run(1),)


def test_the_newest_runs_within_the_budget_are_kept():
    recall = Recall(20)
    recall.keep("c", 5, (run(1), run(2), run(3)))
    assert [kept.run_id for kept in recall.take("c", 6).earlier] == ["r2", "r3"]


def test_the_conversations_used_last_are_remembered_and_erased_ones_are_not():
    recall = Recall(1000)
    for number in range(KEPT + 1):
        recall.keep(f"c{number}", 5, (run(1),))
    assert recall.take("c0", 6) is None
    recall.forget("c1")
    assert recall.take("c1", 6) is None
    assert recall.take("c2", 6) is not None


async def test_a_model_reads_the_same_history_from_memory_as_from_the_store(open_cell, connect, llm):
    llm.otherwise(lambda request: Script.text(f"answer to {request.last_user_text}"))
    asked = []
    async with open_cell() as cell:
        client = connect(cell)
        for number in range(6):
            if number == 4:  # as after a restart
                cell.scheduler.forget("c1")
            await client.do("chat", f"q{number}", text=f"question {number}", conversation_id="c1")
            await client.end_of(f"q{number}")
            asked.append([m["content"] for m in llm.requests[-1].messages if m["role"] != "system"])
    for number, said in enumerate(asked):
        before = [text for n in range(number) for text in (f"question {n}", f"answer to question {n}")]
        assert said == [*before, f"question {number}"]


@pytest.mark.promise("P20")
async def test_nothing_of_an_erased_conversation_is_recalled(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        for number in range(2):
            await client.do("chat", f"a{number}", text="a secret", conversation_id="c1")
            await client.end_of(f"a{number}")
        await cell.conversations.erase("c1")
        for number in range(3):
            await client.do("chat", f"b{number}", text="hello", conversation_id="c1")
            await client.end_of(f"b{number}")
            assert "a secret" not in str(llm.requests[-1].messages)
