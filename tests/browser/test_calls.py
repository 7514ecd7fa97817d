"""What a tool call shows: how far it is, what came of it, and many of them in one line."""

import pytest
from playwright.sync_api import expect

from tom.conversation import event as happened
from tom.conversation.label import Label
from tom.conversation.part import ToolCall

pytestmark = pytest.mark.browser

C = "c-1"


def called(door, count):
    run = door.ask(C, "go")
    door.reply(C, run, "", calls=[ToolCall(str(n), "time__now", "{}") for n in range(count)])
    for n in range(count):
        door.call(C, run, str(n), "now", {"n": n})
    return run


def test_a_name_with_characters_that_are_not_seen_shows_them(door, open_page):
    run = door.ask(C, "go")
    door.reply(C, run, "", calls=[ToolCall("a", "x", "{}")])
    door.call(C, run, "a", "no\u200bw\u202e", {})
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".call-name")).to_have_text("time · no\\u200bw\\u202e")
    expect(page.locator(".mark")).to_have_text("Calling no\\u200bw\\u202e…")


def test_a_running_call_shows_how_far_it_is_and_for_how_long(door, open_page):
    run = called(door, 1)
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    expect(page.locator(".call-state")).to_contain_text("running")
    door.progress(C, run, "0", 40, 100, "Reading \u202efolder", tool="now")
    expect(page.locator(".call-state")).to_contain_text("running 40 %")
    expect(page.locator(".call-note")).to_have_text("Reading \\u202efolder")
    assert page.locator(".call-bar").evaluate("e => e.position") == 0.4
    door.progress(C, run, "0", 7, None, "Still reading", tool="now")
    expect(page.locator(".call-note")).to_have_text("Still reading")
    assert page.locator(".call-bar").evaluate("e => e.position") == -1
    expect(page.locator(".call-state")).to_contain_text(" s")
    door.result(C, run, "0", "noon")
    expect(page.locator(".call-state")).to_have_text("done · 420 ms")
    expect(page.locator(".call-bar")).to_be_hidden()


def test_finished_calls_that_follow_each_other_fold_into_one_line(door, open_page):
    run = called(door, 5)
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    for n in range(4):
        door.result(C, run, str(n), f"answer {n}", error=n == 2)
    group = page.get_by_role("button", name="4 calls, 1 service")
    expect(group).to_contain_text("1 failed")
    expect(group).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".call-row:visible")).to_have_count(1)
    group.click()
    expect(page.locator(".call-row:visible")).to_have_count(5)
    page.locator(".call summary").nth(1).click()
    expect(page.locator(".call-body").nth(1)).to_contain_text("answer 1")
    door.result(C, run, "4", "the last")
    expect(page.get_by_role("button", name="5 calls, 1 service")).to_be_visible()
    expect(page.locator(".call-body").nth(1)).to_contain_text("answer 1")
    door.reply(C, run, "All read.", turn=1)
    door.complete(C, run)
    page.reload()
    expect(page.get_by_role("button", name="5 calls, 1 service")).to_be_visible()
    expect(page.locator(".call-row:visible")).to_have_count(0)


def test_text_between_calls_parts_them(door, open_page):
    run = called(door, 2)
    for n in range(2):
        door.result(C, run, str(n), "x")
    door.reply(C, run, "In between.", turn=1, calls=[ToolCall("a", "time__now", "{}")])
    door.call(C, run, "a", "now", {}, turn=1)
    door.result(C, run, "a", "x", turn=1)
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".call-row:visible")).to_have_count(3)
    expect(page.locator(".call-group")).to_have_count(0)


def test_what_a_service_says_is_text_with_its_source_and_its_class(door, open_page):
    run = called(door, 2)
    text = "![x](https://evil.example/p.png) [click](https://evil.example) <img src=x onerror=alert(1)>"
    door.append(
        happened.tool_returned(
            C,
            text,
            run_id=run,
            turn=0,
            call_id="0",
            is_error=False,
            duration_ms=5,
            label=Label(frozenset({"web.fetch"})),
        )
    )
    door.append(
        happened.tool_returned(
            C,
            "Denied by policy: nobody may.",
            run_id=run,
            turn=0,
            call_id="1",
            is_error=True,
            duration_ms=0,
            denied="rule",
        )
    )
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".call-state")).to_have_text(["done · 5 ms", "denied"])
    expect(page.locator(".call-icon").first).to_have_attribute("title", "This tool reads what is public")
    for index in range(2):
        page.locator(".call > summary").nth(index).click()
    expect(page.locator(".call-body").first).to_contain_text(text)
    expect(page.locator(".call-sources")).to_have_text("Nobody vouches for this text. It comes from web.fetch")
    expect(page.locator(".call-body").nth(1)).to_contain_text("Denied by policy: nobody may.")
    assert page.locator(".call a, .call img").count() == 0
    page.locator(".raw summary").first.click()
    expect(page.locator(".raw pre").first).to_have_text('{\n  "n": 0\n}')


def test_pictures_that_a_tool_returned_are_shown_and_nothing_that_is_none(door, open_page):
    run = called(door, 1)
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    door.asks.files = {
        "a" * 64: {"media_type": "image/png", "size": 70, "data": pixel},
        "b" * 64: {"media_type": "image/svg+xml", "size": 7, "data": "PHN2Zy8+"},
    }
    described = [{"type": "image", "media_type": "image/png", "file": name * 64} for name in "abc"]
    door.append(
        happened.tool_returned(
            C, "here", run_id=run, turn=0, call_id="0", is_error=False, duration_ms=5, attachments=described
        )
    )
    page = open_page(f"/#/c/{C}")
    page.locator(".call > summary").click()
    expect(page.get_by_role("img", name="Picture, returned by the tool")).to_have_count(1)
    assert page.locator(".picture").evaluate("e => e.decode().then(() => e.naturalWidth)") == 1
    expect(page.locator(".call-body .note")).to_have_text(["This picture is not there any more."] * 2)


def test_another_model_is_named_in_the_transcript(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.append(
        happened.Event(
            conversation_id=C,
            type="llm.fell_back",
            extra={"run_id": run, "turn": 0, "attempt": 2, "from": "a", "to": "b", "reason": "provider_timeout"},
        )
    )
    expect(page.locator(".mark")).to_contain_text("Another model answers instead (provider_timeout).")
