"""Logging in and asking, in Chromium: what a person sees while the house does what the test says."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

C = "c-1"


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
    expect(page.locator(".prose").last).to_contain_text("An **assis")
    door.say(cid, run, "tant**, that is all.", offset=10)
    expect(page.locator(".prose").last.locator("strong")).to_have_text("assistant")
    door.reply(cid, run, "An **assistant**, that is all.")
    door.complete(cid, run)
    expect(page.locator(".prose").last).to_have_text("An assistant, that is all.")
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
    door.wait_for_reader(C)
    page.get_by_label("Your message").fill("second")
    page.keyboard.press("Enter")
    expect(page.locator(".mark").last).to_have_text("Waiting for the answer before it…")


def test_a_message_is_not_sent_before_it_is_stored_and_is_sent_again_under_its_id(door, open_page):
    page = open_page("/")
    door.silent = True
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator(".pending")).to_contain_text("Sending…")
    door.wait(lambda: door.actions("chat"))
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
    door.wait(lambda: door.actions("chat"))
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
    door.wait(lambda: door.actions("chat"))
    door.silent = False
    page.reload()
    expect(page.locator(".mark")).to_have_text("Waiting to start…")
    expect(page.locator(".words")).to_have_text("hello")
    assert len({frame["request_id"] for frame in door.actions("chat")}) == 1


def test_a_refused_message_keeps_its_text_and_may_be_tried_again(door, open_page):
    door.answered(C, "before", "ok")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
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
