"""The page in Chromium against the whole of Tom: `tom up` over TLS, agents in processes, a simulated model."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.browser, pytest.mark.slow]


PROGRAM = Path(sys.executable).with_name("mcp-server-time")
SERVICES = {"time": {"command": str(PROGRAM), "args": ["--local-timezone", "UTC"]}}


def say(page, text):
    connected(page)
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def connected(page):
    expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=15000)


def test_a_question_is_answered_with_a_tool_and_a_reload_shows_the_same(llm, come_in):
    paris = Script.tool_calls(("get_current_time", {"timezone": "Europe/Paris"}))
    llm.reply(paris, Script.text("It is **noon** in Paris.\n\n- more\n- or less", delay=0.02))
    page = come_in()
    say(page, "What time is it in Paris?")
    expect(page.locator(".call-name")).to_have_text("time · get_current_time")
    expect(page.locator(".call-state")).to_contain_text("done")
    expect(page.locator(".prose strong")).to_have_text("noon")
    expect(page.locator(".prose li")).to_have_text(["more", "or less"])
    expect(page.locator(".answer .foot")).to_contain_text("tokens")
    page.locator(".call summary").click()
    expect(page.locator(".call-body")).to_contain_text("Europe/Paris")
    before = page.locator("#transcript").inner_text()
    page.reload()
    expect(page.locator(".answer .foot")).to_contain_text("tokens")
    page.locator(".call summary").click()
    expect(page.locator(".call-body")).to_contain_text("Europe/Paris")
    expect(page.locator(".prose li")).to_have_text(["more", "or less"])
    assert page.locator("#transcript").inner_text() == before
    expect(page.get_by_role("navigation").get_by_role("link", name="What time is it in Paris?")).to_be_visible()


def test_a_second_device_sees_the_same_stream(llm, come_in):
    llm.reply(Script.chunks(60, 22, delay=0.03))
    desk, phone = come_in(), come_in(viewport={"width": 390, "height": 800})
    say(desk, "Tell both of us a story")
    expect(desk.locator(".prose")).to_contain_text("so it goes on")
    phone.goto(desk.url)
    expect(phone.locator(".prose.live, .live .prose")).to_contain_text("so it goes on")
    for page in (desk, phone):
        expect(page.locator(".answer .foot")).to_contain_text("tokens", timeout=15000)
        expect(page.locator(".tail")).to_have_count(0)
    assert desk.locator(".prose").inner_text() == phone.locator(".prose").inner_text()
    assert len(desk.locator(".prose").inner_text()) > 1000


def test_a_killed_agent_costs_a_new_attempt_and_no_word_twice(llm, neighbourhood, come_in):
    llm.reply(Script.chunks(200, 22, delay=0.03), Script.text("The second attempt is whole."))
    page = come_in()
    say(page, "Go on whatever happens")
    expect(page.locator(".prose")).to_contain_text("so it goes on")
    neighbourhood.do("kill_agent", "alice")
    expect(page.locator(".prose")).to_have_text("The second attempt is whole.", timeout=20000)
    expect(page.locator(".note")).to_have_text("Started again (attempt 2)")
    expect(page.locator(".words")).to_have_count(1)


def test_a_restarted_house_is_found_again(llm, neighbourhood, come_in):
    llm.reply(Script.text("before"), Script.text("after"))
    page = come_in()
    say(page, "one")
    expect(page.locator(".prose")).to_have_text("before")
    neighbourhood.do("kill")
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    page.get_by_label("Your message").fill("two, written while nobody was there")
    page.keyboard.press("Enter")
    expect(page.locator(".pending")).to_contain_text("Sending…")
    neighbourhood.do("start")
    expect(page.locator(".prose").last).to_have_text("after", timeout=30000)
    expect(page.locator(".words")).to_have_count(2)
    expect(page.locator(".pending")).to_have_count(0)


def test_stop_ends_the_answer_and_keeps_what_was_shown(llm, come_in):
    llm.reply(Script.chunks(500, 22, delay=0.02))
    page = come_in()
    say(page, "Talk for ever")
    expect(page.locator(".prose")).to_contain_text("so it goes on")
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".trouble")).to_contain_text("Stopped.", timeout=1500)
    expect(page.locator(".prose")).to_contain_text("so it goes on")


def test_what_is_typed_before_the_script_is_there_is_kept(neighbourhood, come_in):
    page = come_in()
    connected(page)
    page.route("**/main.js", lambda route: (page.wait_for_timeout(500), route.continue_()))
    page.goto(f"{neighbourhood.house.url}/index", wait_until="commit")
    page.get_by_label("Your message").fill("early words")
    connected(page)
    expect(page.get_by_label("Your message")).to_have_value("early words")


def test_a_failure_is_tried_again(llm, come_in):
    llm.reply(*[Script.fault(Fault.UNAUTHORIZED)] * 3)
    page = come_in()
    say(page, "Please")
    expect(page.locator(".trouble")).to_be_visible(timeout=20000)
    llm.clear()
    llm.reply(Script.text("now it works"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".prose").last).to_have_text("now it works")
    expect(page.locator(".words")).to_have_count(1)


def test_two_people_do_not_see_each_other(llm, come_in):
    llm.reply(Script.text("for alice only"))
    alice, bob = come_in("alice"), come_in("bob")
    say(alice, "a secret")
    expect(alice.locator(".prose")).to_have_text("for alice only")
    bob.goto(alice.url)
    expect(bob.get_by_role("heading", name="There is no such conversation")).to_be_visible()
    expect(bob.get_by_role("navigation").get_by_role("listitem")).to_have_count(0)


def test_logging_out_ends_every_window_of_this_login(neighbourhood, come_in):
    page = come_in()
    connected(page)
    other = page.context.new_page()
    other.goto(neighbourhood.house.url)
    connected(other)
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Log in · Tom")
    expect(other).to_have_title("Log in · Tom")
    page.go_back()
    expect(page).to_have_title("Log in · Tom")


def test_a_wrong_password_and_too_many_of_them_are_said(come_in):
    page = come_in("nobody", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("Invalid credentials")
    for _ in range(6):
        page.get_by_label("Name").fill("nobody")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Please wait")
