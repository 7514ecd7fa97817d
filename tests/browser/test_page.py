"""The page in Chromium: what a person sees while the house behind it does what the test says."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage

pytestmark = pytest.mark.browser

HOSTILE = json.loads((Path(__file__).parents[1] / "gateway" / "cases" / "xss.json").read_text())
C = "c-1"


def prose(page):
    return page.locator(".prose").last


def wait_for(page, condition):
    """Wait, bounded, until ``condition()`` of the played house holds, while the page lives on."""
    for _ in range(800):
        if condition():
            return
        page.wait_for_timeout(10)
    pytest.fail("the house never saw it")


def listening(page, door):
    """The page follows the conversation."""
    wait_for(page, lambda: door.listens(C))


# --- logging in --------------------------------------------------------------------------------------------------


def test_one_logs_in_by_keyboard_and_a_wrong_password_is_said(door, open_page):
    door.logged_in = False
    page = open_page("/")
    expect(page).to_have_title("Log in · Tom")
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Invalid credentials.")
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="What is on your mind, alice?")).to_be_visible()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_a_login_that_ends_leads_to_the_form(door, open_page):
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    door.logged_in = False
    door.cut(4401)
    expect(page).to_have_title("Log in · Tom")


def test_a_refused_socket_leads_to_the_form_when_the_login_is_the_reason(door, open_page):
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    door.logged_in = False
    door.cut(1012)
    expect(page).to_have_title("Log in · Tom")


# --- asking ------------------------------------------------------------------------------------------------------


def test_a_question_is_stored_then_answered_word_by_word(door, open_page):
    page = open_page("/")
    page.get_by_label("Your message").fill("What is **Tom**?\nSecond line")
    page.keyboard.press("Enter")
    expect(page.locator(".words")).to_have_text("What is **Tom**?\nSecond line")
    expect(page).to_have_url(re.compile(r"#/c/[0-9a-f-]{36}$"))
    cid = page.url.rpartition("/")[2]
    expect(page.locator(".mark")).to_have_text("Waiting to start…")
    run = door.events[cid][-1].run_id
    door.start(cid, run)
    expect(page.locator(".mark")).to_have_text("Thinking…")
    expect(page.locator("#said")).to_have_text("Tom is answering.")
    door.say(cid, run, "An **assis", offset=0)
    expect(prose(page)).to_contain_text("An **assis")
    door.say(cid, run, "tant**, that is all.", offset=10)
    expect(prose(page).locator("strong")).to_have_text("assistant")
    door.reply(cid, run, "An **assistant**, that is all.")
    door.complete(cid, run)
    expect(prose(page)).to_have_text("An assistant, that is all.")
    expect(page.locator(".answer .foot")).to_contain_text("small-1 · 84 tokens")
    expect(page.locator("#said")).to_have_text("Answer complete, 5 words.")
    expect(page.get_by_role("navigation").get_by_role("link", name="What is")).to_have_attribute("aria-current", "page")
    sent = door.actions("chat")
    assert [frame["payload"]["text"] for frame in sent] == ["What is **Tom**?\nSecond line"]


def test_shift_enter_makes_a_line_and_composing_does_not_send(door, open_page):
    page = open_page("/")
    field = page.get_by_label("Your message")
    field.focus()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    expect(field).to_have_value("one\ntwo")
    assert door.actions("chat") == []
    page.keyboard.press("Enter")
    expect(page.locator(".words")).to_have_text("one\ntwo")
    expect(field).to_have_value("")


def test_an_empty_message_cannot_be_sent(door, open_page):
    page = open_page("/")
    page.get_by_label("Your message").fill("  \n ")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.keyboard.press("Enter")
    page.get_by_label("Your message").fill("x")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    assert door.actions("chat") == []


def test_a_draft_survives_a_reload(door, open_page):
    page = open_page("/")
    page.get_by_label("Your message").fill("half a th")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("half a th")


def test_a_second_question_waits_and_says_so(door, open_page):
    door.ask(C, "first")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    page.get_by_label("Your message").fill("second")
    page.keyboard.press("Enter")
    expect(page.locator(".mark").last).to_have_text("Waiting for the answer before it…")


def test_a_message_is_not_sent_before_it_is_stored_and_is_sent_again_under_its_id(door, open_page):
    page = open_page("/")
    door.silent = True
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator(".pending")).to_contain_text("Sending…")
    wait_for(page, lambda: door.actions("chat"))
    door.silent = False
    door.cut(1012)
    expect(page.locator(".pending")).to_have_count(0)
    expect(page.locator(".words")).to_have_count(1)
    sent = door.actions("chat")
    assert len(sent) == 2
    assert sent[0] == sent[1]
    (cid,) = door.events
    assert [event.type for event in door.events[cid]] == ["conversation.opened", "message.received"]


def test_what_one_person_wrote_is_not_sent_by_the_next_one_at_the_same_tab(door, open_page):
    page = open_page("/")
    door.silent = True
    page.get_by_label("Your message").fill("for alice's eyes")
    page.keyboard.press("Enter")
    wait_for(page, lambda: door.actions("chat"))
    page.get_by_label("Your message").fill("a draft of alice")
    door.silent = False
    door.user = "bob"
    page.reload()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_label("Your message")).to_have_value("")
    expect(page.locator(".words")).to_have_count(0)
    assert len(door.actions("chat")) == 1


def test_an_unstored_message_survives_a_reload(door, open_page):
    page = open_page("/")
    door.silent = True
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    wait_for(page, lambda: door.actions("chat"))
    door.silent = False
    page.reload()
    expect(page.locator(".mark")).to_have_text("Waiting to start…")
    expect(page.locator(".words")).to_have_text("hello")
    assert len({frame["request_id"] for frame in door.actions("chat")}) == 1


def test_a_refused_message_keeps_its_text_and_may_be_tried_again(door, open_page):
    door.answered(C, "before", "ok")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.refused_text = "keep me"
    page.get_by_label("Your message").fill("keep me")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The disk is full.")
    expect(page.locator(".words").last).to_have_text("keep me")
    door.refused_text = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".pending")).to_have_count(0)
    expect(page.locator(".words").last).to_have_text("keep me")
    assert len({frame["request_id"] for frame in door.actions("chat")}) == 1


# --- no gap, no double -------------------------------------------------------------------------------------------


def test_fragments_that_overlap_or_come_twice_are_joined_by_offset(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.say(C, run, "😀 naïve ", offset=0)
    door.say(C, run, "ve سلام", offset=5)
    door.say(C, run, "😀 naïve ", offset=0)
    door.say(C, run, "م end", offset=11)
    expect(prose(page)).to_have_text("😀 naïve سلام end")


def test_a_missing_fragment_is_asked_for(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.say(C, run, "one ", offset=0)
    expect(prose(page)).to_have_text("one")
    topics = next(iter(door.sockets.values()))
    topics.discard(C)
    door.say(C, run, "two ", offset=4)
    topics.add(C)
    door.say(C, run, "three", offset=8)
    expect(prose(page)).to_have_text("one two three")
    assert len(door.actions("resume")) == 2


def test_a_missing_event_is_asked_for(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    topics = next(iter(door.sockets.values()))
    topics.discard(C)
    door.reply(C, run, "the answer")
    topics.add(C)
    door.complete(C, run)
    expect(prose(page)).to_have_text("the answer")
    assert [frame["payload"]["after"] for frame in door.actions("resume")] == [0, 3]


def test_a_connection_cut_in_the_middle_goes_on_where_it_was(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.say(C, run, "before ", offset=0)
    expect(prose(page)).to_have_text("before")
    door.closed = True
    door.cut(1011)
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    door.say(C, run, "while away ", offset=7)
    door.closed = False
    page.get_by_role("button", name="Retry now").click()
    listening(page, door)
    door.say(C, run, "after", offset=18)
    expect(prose(page)).to_have_text("before while away after")
    expect(page.locator(".words")).to_have_count(1)
    resumed = door.actions("resume")[-1]["payload"]
    assert resumed["after"] == 3
    assert resumed["epoch"] == "epoch-1"


def test_a_restart_of_the_server_is_followed_without_a_click(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.cut(1012)
    listening(page, door)
    door.append(happened.run_resumed(C, run_id=run))
    door.say(C, run, "again", offset=0, attempt=2)
    expect(prose(page)).to_have_text("again")
    expect(page.locator(".note")).to_have_text("Started again (attempt 2)")
    expect(page.locator(".mark")).to_contain_text("Went on after an interruption.")


def test_the_connection_is_retried_by_itself(door, open_page):
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    door.cut(1013)
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_another_attempt_withdraws_what_was_said(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.say(C, run, "wrong start", offset=0)
    expect(prose(page)).to_have_text("wrong start")
    door.restart(C, run, turn=0, attempt=2)
    expect(prose(page)).to_have_text("")
    door.say(C, run, "late fragment of the first", offset=11, attempt=1)
    door.say(C, run, "right", offset=0, attempt=2)
    expect(prose(page)).to_have_text("right")


def test_a_store_that_numbers_anew_is_read_from_the_beginning(door, open_page):
    door.answered(C, "old question", "old answer")
    page = open_page(f"/#/c/{C}")
    expect(prose(page)).to_have_text("old answer")
    door.events[C] = []
    door.epoch = "epoch-2"
    door.answered(C, "new question", "new answer")
    door.cut(1012)
    expect(prose(page)).to_have_text("new answer")
    expect(page.locator(".words")).to_have_text(["new question"])


def test_a_reload_and_a_second_device_show_the_same(door, open_page):
    run = door.ask(C, "go")
    first = open_page(f"/#/c/{C}")
    listening(first, door)
    door.say(C, run, "half an ", offset=0)
    second = open_page(f"/#/c/{C}", viewport={"width": 390, "height": 800})
    expect(prose(second)).to_have_text("half an")
    door.say(C, run, "answer", offset=8)
    for page in (first, second):
        expect(prose(page)).to_have_text("half an answer")
    first.reload()
    expect(prose(first)).to_have_text("half an answer")
    door.reply(C, run, "half an answer, and the rest")
    door.complete(C, run)
    for page in (first, second):
        expect(prose(page)).to_have_text("half an answer, and the rest")
        expect(page.locator(".words")).to_have_text(["go"])


def test_a_long_conversation_opens_at_its_end_and_shows_earlier_parts_on_demand(door, open_page):
    for number in range(130):
        door.answered(C, f"question {number}", f"answer {number}")
    page = open_page(f"/#/c/{C}")
    expect(prose(page)).to_have_text("answer 129")
    assert door.actions("resume")[0]["payload"]["after"] == 521 - 300
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".words").first).to_have_text("question 0")
    expect(page.locator(".words")).to_have_count(130)
    expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()


# --- runs --------------------------------------------------------------------------------------------------------


def test_tool_calls_show_name_state_arguments_and_result(door, open_page):
    run = door.ask(C, "what time is it?")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    names = ("a", "b", "x")
    calls = [ToolCall(name, "time__now", '{"zone": "Asia/Tehran"}') for name in names]
    door.reply(C, run, "", calls=calls)
    expect(page.locator(".call-state")).to_have_text(["waiting"] * 3)
    for name in names:
        door.call(C, run, name, "now", {"zone": "Asia/Tehran \u202etxt"})
    expect(page.locator(".call-name").first).to_have_text("time · now")
    expect(page.locator(".mark")).to_have_text("Calling 3 tools…")
    door.result(C, run, "a", '{"time": "14:30"}')
    door.result(C, run, "b", "No such <b>zone</b>", error=True)
    door.append(
        happened.tool_unresolved(
            C, "Nobody knows whether it happened.", run_id=run, turn=0, call_id="x", service="time", tool="now"
        )
    )
    expect(page.locator(".call-state")).to_have_text(["done · 420 ms", "failed · 420 ms", "may have happened"])
    cards = page.locator(".call")
    for index in range(3):
        cards.nth(index).locator("summary").focus()
        page.keyboard.press("Enter")
    expect(cards.nth(0)).to_contain_text('"time": "14:30"')
    expect(cards.nth(0)).to_contain_text("Asia/Tehran \\u202etxt")
    expect(cards.nth(1)).to_contain_text("No such <b>zone</b>")
    expect(cards.nth(2)).to_contain_text("Nobody knows whether it happened.")


def test_a_call_without_a_result_when_the_run_ends_may_have_happened(door, open_page):
    run = door.ask(C, "go")
    door.reply(C, run, "", calls=[ToolCall("a", "send", "{}"), ToolCall("b", "send", "{}")])
    door.call(C, run, "a", "send", {})
    door.append(happened.run_cancelled(C, run_id=run, usage=Usage(), reason="stopped"))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".call-state")).to_have_text(["may have happened", "not called"])


@pytest.mark.parametrize("way", ["button", "escape"])
def test_an_answer_is_stopped(door, open_page, way):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    door.say(C, run, "never ending", offset=0)
    expect(prose(page)).to_have_text("never ending")
    if way == "button":
        page.get_by_role("button", name="Stop the answer").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator(".trouble")).to_contain_text("Stopped.")
    expect(prose(page)).to_have_text("never ending")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    assert door.actions("stop")[0]["payload"] == {"conversation_id": C, "run_id": run}


def test_a_failed_run_says_why_and_is_tried_again_without_a_second_message(door, open_page):
    run = door.ask(C, "go")
    door.append(happened.run_failed(C, run_id=run, usage=Usage(), code="provider_timeout", reason="It took too long."))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".trouble")).to_contain_text("It took too long.")
    page.get_by_role("button", name="Try again").click()
    wait_for(page, lambda: door.events[C][-1].type == "run.retried")
    again = door.events[C][-1].run_id
    door.start(C, again)
    door.reply(C, again, "here it is")
    door.complete(C, again)
    expect(prose(page)).to_have_text("here it is")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.locator(".words")).to_have_count(1)


def test_scripted_answers_are_called_that(door, open_page):
    door.answered(C, "hi", "I am not a language model.", model="scripted")
    page = open_page(f"/#/c/{C}")
    expect(page.locator("#scripted")).to_have_text("No model is set up. These answers are scripted.")
    expect(page.locator("#scripted")).to_be_visible()


def test_an_answer_of_a_model_has_no_such_banner(door, open_page):
    door.answered(C, "hi", "hello")
    page = open_page(f"/#/c/{C}")
    expect(prose(page)).to_have_text("hello")
    expect(page.locator("#scripted")).to_be_hidden()


def test_the_server_is_asked_to_render_at_most_every_150_ms(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    listening(page, door)
    asked = []
    page.on("request", lambda request: asked.append(request) if request.url.endswith("/page/render") else None)
    began = page.evaluate("performance.now()")
    for number in range(100):
        door.say(C, run, f"{number:03} ", offset=4 * number)
    door.reply(C, run, "".join(f"{number:03} " for number in range(100)) + "**end**")
    expect(prose(page).locator("strong")).to_have_text("end")
    took = page.evaluate("performance.now()") - began
    assert len(asked) <= took / 150 + 2


def test_words_stay_in_sight_when_rendering_fails(door, open_page):
    door.answered(C, "hi", "some **words**")
    page = open_page("/")
    page.route("**/page/render", lambda route: route.fulfill(status=503))
    page.goto(f"{door.url}/#/c/{C}")
    expect(prose(page)).to_have_text("some **words**")
    page.unroute("**/page/render")
    expect(prose(page).locator("strong")).to_have_text("words")


# --- moving about ------------------------------------------------------------------------------------------------


def test_conversations_are_listed_and_opened(door, open_page):
    door.answered("c-old", "About trains", "They run.")
    door.answered("c-new", "About boats", "They float.")
    page = open_page("/")
    links = page.get_by_role("navigation", name="Conversations").get_by_role("link")
    expect(links).to_have_count(3)
    page.get_by_role("link", name="About trains").click()
    expect(prose(page)).to_have_text("They run.")
    page.get_by_role("link", name="About boats").click()
    expect(prose(page)).to_have_text("They float.")
    expect(page.locator(".prose")).to_have_count(1)
    door.answered("c-old", "More?", "No.")
    page.go_back()
    expect(page.locator(".prose").last).to_have_text("No.")
    page.get_by_role("link", name="New conversation").click()
    expect(page.get_by_role("heading", name="What is on your mind")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_focused()


def test_an_unknown_conversation_is_said_to_be_unknown(door, open_page):
    page = open_page("/#/c/nobody-knows")
    expect(page.get_by_role("heading", name="There is no such conversation")).to_be_visible()


def test_the_reader_who_scrolls_up_is_left_in_peace(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}", viewport={"width": 900, "height": 500})
    listening(page, door)
    text = "line\n\n" * 60
    door.say(C, run, text, offset=0)
    expect(prose(page).locator("p")).to_have_count(60)
    scroller = page.locator("#scroller")
    assert scroller.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop") < 24
    scroller.evaluate("e => { e.scrollTop = 100; }")
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    door.say(C, run, "more\n\n" * 20, offset=len(text))
    expect(prose(page).locator("p")).to_have_count(80)
    assert scroller.evaluate("e => e.scrollTop") == 100
    page.get_by_role("button", name="Latest").click()
    assert scroller.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop") < 24


def test_a_narrow_screen_has_a_drawer_and_nothing_sticks_out(door, open_page):
    code = "x" * 400
    door.answered(C, "y" * 300, f"`{code}`\n\n```\n{code}\n```\n\n| {code} | b |\n|---|---|\n| c | d |\n\n{code}")
    page = open_page(f"/#/c/{C}", viewport={"width": 320, "height": 600})
    expect(prose(page).locator("table")).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") == 320
    assert page.locator("#scroller").evaluate("e => e.scrollWidth <= e.clientWidth")
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("button", name="Close the list")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.get_by_role("button", name="Conversations")).to_be_focused()


def test_persian_reads_from_the_right_and_code_from_the_left(door, open_page):
    door.answered(C, "سلام", "سلام دنیا\n\n- یک `ls -la`\n\nAnd English")
    page = open_page(f"/#/c/{C}")
    expect(prose(page).locator("li")).to_be_visible()
    direction = "e => getComputedStyle(e).direction"
    assert prose(page).locator("p").first.evaluate(direction) == "rtl"
    assert prose(page).locator("li").evaluate(direction) == "rtl"
    assert prose(page).locator("code").evaluate(direction) == "ltr"
    assert prose(page).locator("p").last.evaluate(direction) == "ltr"


def test_landmarks_and_names_are_there_for_those_who_do_not_see(door, open_page):
    door.answered(C, "hi", "hello")
    page = open_page(f"/#/c/{C}")
    expect(prose(page)).to_have_text("hello")
    for role in ("navigation", "main", "banner"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("log", name="hi")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("hi")
    assert page.get_by_role("article").count() == 2
    assert page.get_by_role("article").get_by_role("heading", level=2).all_inner_texts() == ["You", "Tom"]
    unnamed = page.locator("button, a, input, textarea").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length"
    )
    assert unnamed == 0
    page.keyboard.press("Escape")
    page.locator("body").press("Control+Home")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()
    expect(prose(page)).to_have_text("hello")


# --- hostile text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["with", "without"])
def test_hostile_text_does_nothing_wherever_it_stands(door, open_page, policy):
    """Once with the content policy, and once without, when only the rendering stands between text and page."""
    for text in HOSTILE:
        run = door.ask(C, text)
        door.reply(C, run, text, calls=[ToolCall("a", text, json.dumps({"x": text}))])
        door.call(C, run, "a", text, {"x": text})
        door.result(C, run, "a", text)
        door.complete(C, run)
        door.answered(f"other-{len(door.events)}", text, "ok")
    page = open_page(f"/#/c/{C}", bypass_csp=policy == "without")
    expect(page.locator(".run")).to_have_count(50)
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".run")).to_have_count(len(HOSTILE))
    expect(page.locator(".prose .tail")).to_have_count(0)
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")
    page.locator(".prose *").evaluate_all(
        """all => { for (const e of all) for (const type of ['mouseover', 'focus', 'click', 'toggle']) {
          const event = new Event(type, {bubbles: true, cancelable: true});
          e.addEventListener(type, found => found.preventDefault());
          e.dispatchEvent(event);
        } }"""
    )
    page.wait_for_timeout(300)
    assert page.locator(".prose").locator("script, img, iframe, svg, form, input, style, object, base").count() == 0
    shown = page.locator(".prose a").evaluate_all("all => all.map(a => [a.host, a.textContent, a.protocol, a.rel])")
    for host, text, protocol, rel in shown:
        assert protocol in {"https:", "http:", "mailto:"}
        assert host in text
        assert rel == "noopener noreferrer"
    expect(page).to_have_url(f"{door.url}/#/c/{C}")


# --- colours -----------------------------------------------------------------------------------------------------


def test_text_stands_out_from_its_ground_in_both_schemes():
    sheet = (Path(__file__).parents[2] / "src/tom/gateway/static/tom.css").read_text()
    light = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", sheet.split("@media")[0]))
    dark = light | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", sheet.split("@media")[1]))
    pairs = [
        *((ink, ground) for ink in ("ink", "soft", "accent") for ground in ("paper", "raised", "sunken", "tint")),
        ("amber", "amber-tint"), ("red", "red-tint"), ("ink", "red-tint"), ("accent-ink", "accent"), ("red", "raised"),
    ]  # fmt: skip
    for colours in (light, dark):
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
