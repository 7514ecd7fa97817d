"""The reference page in Chromium, as an agent alone serves it: nothing is loaded, and it can be used everywhere."""

import pytest
from playwright.sync_api import expect

from tom.testing.alone import Alone

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("docs") / "data", {"global": {"llm": "scripted"}}) as alone:
        yield alone


def test_only_the_page_itself_is_asked_for(agent, open_device):
    page = open_device(f"{agent.url}/docs#sendMessage")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    expect(page.get_by_role("heading", name="Say something and get the reply")).to_be_visible()
    assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} == {f"{agent.url}/docs"}
    assert page.evaluate("getComputedStyle(document.querySelector('.method')).fontWeight") == "700"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (900, 700), (360, 740)])
def test_it_fits_every_screen(agent, open_device, width, height):
    page = open_device(f"{agent.url}/docs", viewport={"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contents = page.get_by_role("navigation", name="Contents")
    if width < 800:
        expect(contents).to_have_count(0)
        page.get_by_text("Contents", exact=True).click()
    expect(contents).to_have_count(1)
    contents.get_by_role("link", name="Open a session", exact=True).click()
    expect(page.locator("#createSession")).to_be_in_viewport()


def test_it_is_walked_through_with_the_keyboard(agent, open_device):
    page = open_device(f"{agent.url}/docs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the text")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="openapi.json")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_by_day_and_by_night(agent, open_device, scheme):
    page = open_device(f"{agent.url}/docs", color_scheme=scheme)
    shades = page.evaluate("""() => ['color', 'backgroundColor'].map(name =>
        getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0))""")
    assert (shades[0] < shades[1]) == (scheme == "light")
    assert abs(shades[0] - shades[1]) > 400
