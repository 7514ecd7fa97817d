"""The example pages in Chromium, against an agent that runs alone."""

import re

import pytest
from playwright.sync_api import expect

from tom.testing.alone import Alone
from tom.testing.simulated_llm import Script, SimulatedLLM

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def playing(tmp_path_factory):
    with SimulatedLLM() as llm:
        simulated = {"api": "none", "base_url": llm.url, "models": "compatible/simulated", "timeout": 5}
        settings = {
            "global": {"llm": "simulated", "llms": {"simulated": simulated}},
            "chat": {"service": {"titles": False}, "websocket": {"allow_origins": ["null"]}},
        }
        with Alone(tmp_path_factory.mktemp("alone") / "data", settings) as agent:
            yield llm, agent


@pytest.fixture
def llm(playing):
    playing[0].clear()
    return playing[0]


@pytest.fixture
def agent(playing, llm):
    return playing[1]


@pytest.fixture
def open_chat(agent, open_device):
    return lambda **options: open_device(agent.url + "/examples/chat.html", **options)


def begin(page):
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#session")).not_to_be_empty()
    return page.locator("#session").inner_text()


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def test_a_session_is_started_written_to_and_still_there_after_a_reload(llm, open_chat):
    llm.reply(Script.text("It is <b>noon</b>.\n\nنیم‌روز است."))
    page = open_chat()
    session = begin(page)
    say(page, "What time is it?")
    said = page.locator(".said.assistant p")
    expect(said).to_have_text(["It is <b>noon</b>.", "نیم‌روز است."])
    assert page.locator(".said b").count() == 0
    directions = said.evaluate_all("all => all.map(one => getComputedStyle(one).direction)")
    assert directions == ["ltr", "rtl"]
    expect(page.locator(".said.assistant small")).to_contain_text("tokens")
    page.reload()
    expect(page.locator("#session")).to_have_text(session)
    expect(page.locator(".said.user p")).to_have_text("What time is it?")


def test_what_is_not_json_is_marked_at_its_field_and_not_sent(agent, open_chat):
    page = open_chat()
    sent = []
    page.on("request", lambda request: sent.append(request.method) if request.method == "POST" else None)
    page.get_by_label("Metadata (JSON)").fill("{oops")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#metadata-wrong")).to_contain_text("This is not JSON")
    expect(page.get_by_label("Metadata (JSON)")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Metadata (JSON)").fill('{"desk": 4}')
    page.get_by_label("Memory limit of the session").fill("many")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#limit-wrong")).to_contain_text("whole number")
    assert sent == []
    page.get_by_label("Memory limit of the session").fill("4")
    begin(page)
    assert sent == ["POST"]
    page.locator("#options").evaluate("field => { field.value = '[1]'; }")
    say(page, "Hello")
    expect(page.locator("#options-wrong")).to_contain_text("JSON object")
    assert sent == ["POST"]


def test_an_answer_is_stopped_and_a_session_deleted(llm, open_chat):
    llm.reply(Script.chunks(400, 22, delay=0.02))
    page = open_chat()
    begin(page)
    say(page, "Tell me a long story")
    expect(page.locator(".said.assistant p").first).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".said.assistant small")).to_contain_text("stopped")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#session")).to_be_empty()
    expect(page.locator(".said")).to_have_count(0)


def test_a_refusal_is_shown_with_the_id_of_its_request(open_chat):
    page = open_chat()
    begin(page)
    page.locator("#options").evaluate("field => { field.value = '{\"max_tokens\": 0}'; }")
    with page.expect_response(re.compile("/messages")) as answered:
        say(page, "Hello")
    expect(page.locator("#problem")).to_contain_text("max_tokens")
    expect(page.locator("#problem")).to_contain_text(answered.value.headers["x-request-id"])
    expect(page.get_by_label("Message", exact=True)).to_have_value("Hello")


def test_the_page_is_persian_and_right_to_left_when_that_is_chosen(open_chat, agent, open_device):
    page = open_chat(color_scheme="dark")
    page.get_by_label("Language").select_option("fa")
    expect(page.get_by_role("button", name="شروع")).to_be_visible()
    assert page.locator("html").get_attribute("dir") == "rtl"
    page.get_by_label("جهت").select_option("ltr")
    assert page.locator("html").get_attribute("dir") == "ltr"
    persian = open_device(agent.url + "/examples/metrics.html")
    persian.get_by_label("Language").select_option("fa")
    expect(persian.locator("#requests")).to_have_text(re.compile("^[۰-۹٬]+$"))
    assert persian.locator("html").get_attribute("dir") == "rtl"


def test_everything_can_be_reached_by_keyboard(open_chat, llm):
    llm.reply(Script.text("Hello."))
    page = open_chat()
    page.get_by_label("Metadata (JSON)").focus()
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("Hi")
    page.keyboard.press("Enter")
    expect(page.locator(".said.assistant p")).to_have_text("Hello.")


def test_traffic_is_drawn_between_two_readings_and_greyed_when_nobody_answers(llm, agent, open_device):
    page = open_device(agent.url + "/examples/metrics.html")
    expect(page.get_by_label("Seconds between readings")).to_have_value("20")
    expect(page.locator("#requests")).not_to_have_text("–")
    before = int(page.locator("#requests").inner_text().replace(",", ""))
    page.get_by_label("Seconds between readings").fill("1")
    page.get_by_label("Seconds between readings").press("Tab")
    page.evaluate("fetch('/sessions', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})")
    expect(page.locator("#requests")).to_have_text(str(before + 1))
    expect(page.locator("#requests-chart polyline")).to_have_count(1)
    page.route("**/metrics", lambda route: route.abort())
    expect(page.locator("#board")).to_have_class(re.compile("stale"))
    expect(page.locator("#problem")).to_contain_text("Last values from")
    expect(page.locator("#requests")).to_have_text(str(before + 1))
    page.unroute("**/metrics")
    expect(page.locator("#board")).not_to_have_class(re.compile("stale"))


def test_the_number_of_seconds_is_kept_and_has_bounds(agent, open_device):
    page = open_device(agent.url + "/examples/metrics.html")
    field = page.get_by_label("Seconds between readings")
    field.fill("3600")
    field.press("Tab")
    field.fill("0")
    field.press("Tab")
    expect(field).to_have_value("3600")
    page.reload()
    expect(field).to_have_value("3600")


def test_the_page_works_when_it_is_opened_from_disk(agent, llm, repository, browser):
    llm.reply(Script.text("From disk."))
    page = browser.new_page()
    page.goto((repository / "examples" / "chat.html").as_uri())
    page.get_by_label("Address").fill(agent.url)
    begin(page)
    say(page, "Hello")
    expect(page.locator(".said.assistant p")).to_have_text("From disk.")
    page.close()
