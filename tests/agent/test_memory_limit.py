"""A conversation's memory limit counts user and assistant messages of the prompt; nothing else is left out by it."""

import pytest

from tom.testing.simulated_llm import Script
from tom.testing.store_events import asked, changed, completed, opened, replied, started

pytestmark = pytest.mark.anyio


async def test_the_prompt_holds_no_more_messages_than_the_limit(open_cell, connect, llm):
    async with open_cell() as cell:
        await cell.store.append([opened(), changed(memory_limit=4)])
        for number in range(5):
            run = f"r{number}"
            await cell.store.append(
                [asked(run, text=f"question {number}"), started(run), replied(run, text=f"answer {number}")]
            )
            await cell.store.append([completed(run)])
        client = connect(cell)
        for number, text in enumerate(("now", "and then")):
            llm.reply(Script.text("fine"))
            await client.do("chat", f"q{number}", text=text, conversation_id="c")
            await client.end_of(f"q{number}")
        first, second = ([m["content"] for m in sent.messages if m["role"] != "system"] for sent in llm.requests)
    assert first == ["question 4", "answer 4", "now"]
    assert second == ["now", "fine", "and then"]
