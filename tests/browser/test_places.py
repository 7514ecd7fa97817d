"""Moving about in the page: conversations, scrolling, narrow screens, directions, names for assistive technology."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

C = "c-1"


def test_conversations_are_listed_and_opened(door, open_page):
    door.answered("c-old", "About trains", "They run.")
    door.answered("c-new", "About boats", "They float.")
    page = open_page("/")
    links = page.get_by_role("navigation", name="Conversations").get_by_role("link")
    expect(links).to_have_count(3)
    page.get_by_role("link", name="About trains").click()
    expect(page.locator(".prose").last).to_have_text("They run.")
    page.get_by_role("link", name="About boats").click()
    expect(page.locator(".prose").last).to_have_text("They float.")
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
    door.wait_for_reader(C)
    text = "line\n\n" * 60
    door.say(C, run, text, offset=0)
    expect(page.locator(".prose").last.locator("p")).to_have_count(60)
    scroller = page.locator("#scroller")
    assert scroller.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop") < 24
    scroller.evaluate("e => { e.scrollTop = 100; }")
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    door.say(C, run, "more\n\n" * 20, offset=len(text))
    expect(page.locator(".prose").last.locator("p")).to_have_count(80)
    assert scroller.evaluate("e => e.scrollTop") == 100
    page.get_by_role("button", name="Latest").click()
    assert scroller.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop") < 24


def test_a_narrow_screen_has_a_drawer_and_nothing_sticks_out(door, open_page):
    code = "x" * 400
    door.answered(C, "y" * 300, f"`{code}`\n\n```\n{code}\n```\n\n| {code} | b |\n|---|---|\n| c | d |\n\n{code}")
    page = open_page(f"/#/c/{C}", viewport={"width": 320, "height": 600})
    expect(page.locator(".prose").last.locator("table")).to_be_visible()
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
    expect(page.locator(".prose").last.locator("li")).to_be_visible()
    direction = "e => getComputedStyle(e).direction"
    assert page.locator(".prose").last.locator("p").first.evaluate(direction) == "rtl"
    assert page.locator(".prose").last.locator("li").evaluate(direction) == "rtl"
    assert page.locator(".prose").last.locator("code").evaluate(direction) == "ltr"
    assert page.locator(".prose").last.locator("p").last.evaluate(direction) == "ltr"
    height = "e => parseFloat(getComputedStyle(e).lineHeight) / parseFloat(getComputedStyle(e).fontSize)"
    assert page.locator(".prose p").first.evaluate(height) >= 1.8


def test_landmarks_and_names_are_there_for_those_who_do_not_see(door, open_page):
    door.answered(C, "hi", "hello")
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".prose").last).to_have_text("hello")
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
    expect(page.locator(".prose").last).to_have_text("hello")
