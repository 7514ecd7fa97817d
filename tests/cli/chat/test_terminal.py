"""`tom chat` at a terminal: what a person sees, and that no word is lost or doubled on the way."""

import pytest

from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage

pytestmark = pytest.mark.slow

C = "c-1"


def test_a_message_without_an_acknowledgement_is_sent_again_under_its_id(door, run):
    door.silent = True
    process = run("hello")
    door.wait(lambda: door.actions("chat"))
    door.silent = False
    door.cut(1012)
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.reply(cid, own, "once")
    door.complete(cid, own)
    assert process.communicate(timeout=10)[0] == "once\n"
    first, second = door.actions("chat")
    assert first == second


def test_a_cut_connection_costs_no_word_and_doubles_none(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.say(cid, own, "first part.\n\nsecond ", offset=0)
    terminal.see("first part.")
    door.closed = True
    door.cut(1011)
    door.say(cid, own, "part.\n\nthird ", offset=20)
    door.closed = False
    terminal.until(lambda: door.listens(cid))
    door.say(cid, own, "part.", offset=34)
    door.reply(cid, own, "first part.\n\nsecond part.\n\nthird part.")
    door.complete(cid, own)
    terminal.see("› ", 2)
    assert "Connected again." in terminal.text
    formed = [line.strip() for line in terminal.text.splitlines() if line.strip().endswith("part.")]
    assert formed[0] == "first part."
    assert formed.count("first part.") == 1
    assert terminal.text.index("first part.") < terminal.text.index("third part.")


def test_fragments_that_overlap_or_are_missing_are_mended(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.say(cid, own, "😀 one two ", offset=0)
    door.say(cid, own, "two three ", offset=6)
    topics = next(iter(door.sockets.values()))
    topics.discard(cid)
    door.say(cid, own, "four ", offset=16)
    topics.add(cid)
    door.say(cid, own, "five", offset=21)
    terminal.see("😀 one two three four five")
    assert len(door.actions("resume")) == 2


def test_another_attempt_is_said_and_what_came_before_does_not_count(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.say(cid, own, "wrong", offset=0)
    terminal.see("wrong")
    door.restart(cid, own, turn=0, attempt=2)
    terminal.see("Started again (attempt 2)")
    door.reply(cid, own, "right")
    door.complete(cid, own)
    terminal.see("› ", 2)
    assert "right" in terminal.text.split("attempt 2")[1]


def test_a_store_that_numbers_anew_is_read_from_its_beginning(door, screen):
    door.answered(C, "old", "old answer")
    terminal = screen("--conversation", C)
    terminal.see("old answer")
    terminal.see("› ")
    door.events[C] = []
    door.epoch = "epoch-2"
    door.answered(C, "new", "new answer")
    door.cut(1012)
    for turn in range(1, 20):  # what arrives while one types is shown after the next Enter
        terminal.type("/help\r")
        terminal.see("/retry", turn)
        terminal.see("› ", turn + 1)
        if "new answer" in terminal.text:
            break
    assert "numbered anew" in terminal.text


def test_the_newest_conversation_is_shown_and_continued(door, screen):
    door.answered("c-old", "old question", "old answer")
    run = door.ask(C, "what time is it?")
    door.reply(C, run, "", calls=[ToolCall("a", "now", "{}"), ToolCall("b", "now", "{}")])
    door.call(C, run, "a", "now", {"zone": "Asia/Tehran"})
    door.result(C, run, "a", "14:30")
    door.call(C, run, "b", "now", {"zone": "nowhere"})
    door.append(happened.tool_unresolved(C, "Who knows.", run_id=run, turn=0, call_id="b", service="time", tool="now"))
    door.reply(C, run, "It is **14:30**.", turn=1)
    door.complete(C, run)
    terminal = screen("--conversation", C)
    terminal.see("It is 14:30.")
    for shown in (
        "› what time is it?",
        '⚙ time · now  {"zone": "Asia/Tehran"}',
        "✓ time · now done · 420 ms  14:30",
        "? time · now may have happened  Who knows.",
    ):
        assert shown in terminal.text
    assert "old question" not in terminal.text


def test_commands_do_what_they_say(door, screen):
    door.answered(C, "first question", "first answer")
    terminal = screen()
    terminal.see("first answer")
    terminal.type("/history\r")
    terminal.see("first answer", 2)
    terminal.type("/stop\r")
    terminal.see("Nothing is going on.")
    terminal.type("/new\r")
    terminal.see("A new conversation.")
    terminal.type("one \\\rtwo\r")
    terminal.until(lambda: door.actions("chat"))
    message = door.actions("chat")[0]["payload"]
    assert message["text"] == "one \ntwo"
    assert message["conversation_id"] != C
    cid, own = door.wait_for_message()
    door.append(happened.run_failed(cid, run_id=own, usage=Usage(), code="provider_timeout", reason="Too slow."))
    terminal.see("Too slow. (provider_timeout)")
    terminal.see("› ", 5)
    terminal.type("/retry\r")
    terminal.until(lambda: door.actions("retry"))
    assert door.actions("retry")[0]["payload"] == {"conversation_id": cid, "run_id": own}
    again = door.events[cid][-1].run_id
    door.start(cid, again)
    door.reply(cid, again, "better now")
    door.complete(cid, again)
    terminal.see("better now")
    terminal.see("› ", 6)
    terminal.type("/quit\r")
    assert terminal.ends() == 0


def test_ctrl_c_stops_the_answer_and_then_leaves(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.say(cid, own, "never ending", offset=0)
    terminal.see("never ending")
    terminal.type("\x03")
    terminal.see("■ Stopped.")
    assert door.actions("stop")[0]["payload"] == {"conversation_id": cid, "run_id": own}
    terminal.see("› ", 2)
    assert terminal.leave() == 0


def test_a_second_ctrl_c_leaves_what_cannot_be_stopped(door, screen):
    door.silent = True
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    terminal.until(lambda: door.actions("chat"))
    terminal.type("\x03")
    terminal.see("Ctrl+C again leaves.")
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert "tom chat --conversation" in terminal.text


def test_ctrl_d_leaves(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("\x04")
    assert terminal.ends() == 0


def test_no_text_of_a_model_or_service_moves_the_cursor(door, screen):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31mred \u202etxt"
    run = door.ask(C, evil)
    door.reply(C, run, "", calls=[ToolCall("a", "now", "{}")])
    door.call(C, run, "a", "now", {"zone": evil})
    door.result(C, run, "a", evil, error=True)
    door.reply(C, run, evil, turn=1)
    door.complete(C, run)
    terminal = screen("--conversation", C)
    terminal.see("] ", 0)
    terminal.see("owned", 4)
    for sequence in ("\x1b]0;", "\x07", "\x1b[2J", "\x9b"):
        assert sequence not in terminal.raw
    assert "\\u202etxt" in terminal.text


def test_scripted_answers_are_called_that(door, screen):
    door.answered(C, "hi", "I am a script.", model="scripted")
    terminal = screen("--conversation", C)
    terminal.see("No model is set up. These answers are scripted.")
    terminal.see("I am a script.")
