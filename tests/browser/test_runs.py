"""What follows a message: tool calls, stopping, failing, trying again."""

from itertools import pairwise

import pytest
from playwright.sync_api import expect

from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage

pytestmark = pytest.mark.browser

C = "c-1"


def test_tool_calls_show_name_state_arguments_and_result(door, open_page):
    run = door.ask(C, "what time is it?")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
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
    door.wait_for_reader(C)
    door.say(C, run, "never ending", offset=0)
    expect(page.locator(".prose").last).to_have_text("never ending")
    if way == "button":
        page.get_by_role("button", name="Stop the answer").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator(".trouble")).to_contain_text("Stopped.")
    expect(page.locator(".prose").last).to_have_text("never ending")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    assert door.actions("stop")[0]["payload"] == {"conversation_id": C, "run_id": run}


def test_a_failed_run_says_why_and_is_tried_again_without_a_second_message(door, open_page):
    run = door.ask(C, "go")
    door.append(happened.run_failed(C, run_id=run, usage=Usage(), code="provider_timeout", reason="It took too long."))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".trouble")).to_contain_text("It took too long.")
    page.get_by_role("button", name="Try again").click()
    door.wait(lambda: door.events[C][-1].type == "run.retried")
    again = door.events[C][-1].run_id
    door.start(C, again)
    door.reply(C, again, "here it is")
    door.complete(C, again)
    expect(page.locator(".prose").last).to_have_text("here it is")
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
    expect(page.locator(".prose").last).to_have_text("hello")
    expect(page.locator("#scripted")).to_be_hidden()


def test_the_server_is_asked_to_render_at_most_every_150_ms(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "000 ", offset=0)
    expect(page.locator(".prose").last).to_contain_text("000")  # asked for once already, so the rest is a second time
    for number in range(1, 200):
        door.say(C, run, f"{number:03} ", offset=4 * number)
    door.reply(C, run, "".join(f"{number:03} " for number in range(200)) + "**end**")
    expect(page.locator(".prose").last.locator("strong")).to_have_text("end")
    asked = page.evaluate(
        "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/page/render')).map(e => e.startTime)"
    )
    assert len(asked) >= 2
    assert min(later - earlier for earlier, later in pairwise(asked)) >= 145  # a timer may fire a little early


def test_words_stay_in_sight_when_rendering_fails(door, open_page):
    door.answered(C, "hi", "some **words**")
    page = open_page("/")
    page.route("**/page/render", lambda route: route.fulfill(status=503))
    page.goto(f"{door.url}/#/c/{C}")
    expect(page.locator(".prose").last).to_have_text("some **words**")
    page.unroute("**/page/render")
    expect(page.locator(".prose").last.locator("strong")).to_have_text("words")
