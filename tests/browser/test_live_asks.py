"""Asks in Chromium over the whole of Tom, and the how-to about answering them elsewhere, as its reader follows it."""

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect
from ruamel.yaml import YAML

from tom.testing.house import PASSWORD
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/howto/approve-from-another-device.md").read_text()
FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
BLOCKS = [(found["language"], found["text"], found["note"] or "") for found in FENCE.finditer(PAGE)]
SERVICES = YAML(typ="safe").load(next(text for language, text, _ in BLOCKS if language == "yaml"))["services"]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
OLIVES = Script.tool_calls(("add_item", {"item": "olives"}))


def say(page, text):
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


@pytest.fixture
def terminal(neighbourhood):
    """``terminal(commands, note)``: what the page says to run, at the root of the checkout; its output."""
    house = neighbourhood.house

    def run(commands, note):
        controlling, stdin = os.openpty()
        try:
            if note:
                os.write(controlling, note.removeprefix("answered with ").encode() + b"\n")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands.replace("./data", str(house.directory))],
                check=False, cwd=ROOT, stdin=stdin, capture_output=True, text=True, timeout=60,
                env={**os.environ, "TOM_URL": house.url, "TOM_PASSWORD": PASSWORD, "NO_COLOR": "1",
                     "XDG_CONFIG_HOME": str(house.directory.parent / "settings")},
            )  # fmt: skip
        finally:
            os.close(controlling)
            os.close(stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_the_how_to_is_followed_with_a_terminal_as_the_other_device(llm, come_in, terminal):
    llm.reply(OLIVES, Script.text("Olives are on the list."))
    page = come_in()
    say(page, "Put olives on the shopping list.")
    expect(page.locator(".ask h3")).to_have_text("May Tom call shopping · add_item?")
    expect(page.locator(".ask .tree")).to_contain_text("olives")
    digest = page.locator(".ask-facts code").inner_text()
    said = [terminal(text, note) for language, text, note in BLOCKS if language == "bash"]
    assert "shopping" in said[0]
    assert "olives" in said[0]
    assert digest in said[0]
    assert "Allowed" in said[1]
    expect(page.locator(".ask-state")).to_contain_text("allowed and done by you (tom")
    expect(page.locator(".prose").last).to_have_text("Olives are on the list.")
    expect(page.locator("#inbox-count")).to_be_hidden()


def test_the_how_to_is_followed_with_a_phone_as_the_other_device(llm, come_in, press):
    llm.reply(OLIVES, Script.text("Now they are."))
    desk = come_in()
    phone = come_in(viewport={"width": 390, "height": 800}, has_touch=True)
    say(desk, "Put olives on the shopping list.")
    expect(desk.locator(".ask h3")).to_be_visible()
    expect(phone.locator("#inbox-count")).to_have_text("1")
    phone.get_by_role("link", name="Inbox, one waits for you").click()
    press(phone.get_by_role("button", name="Allow once"))
    expect(phone.locator("#inbox .ask-state")).to_contain_text("allowed by you")
    expect(desk.locator(".ask-state")).to_contain_text("allowed and done by you (Chrome on")
    expect(desk.locator(".prose").last).to_have_text("Now they are.")
    expect(phone.locator("#inbox-count")).to_be_hidden()


def test_an_ask_survives_a_restart_of_the_house_and_is_edited_then(llm, neighbourhood, come_in, press):
    llm.reply(OLIVES, Script.text("Done."))
    page = come_in()
    say(page, "Put olives on the shopping list.")
    expect(page.locator(".ask h3")).to_be_visible()
    neighbourhood.do("stop")
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    neighbourhood.do("start")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=40000)
    press(page.get_by_role("button", name="Edit and allow"))
    page.get_by_label("The arguments, as JSON").fill('{"item": 5}')
    press(page.get_by_role("button", name="Allow what is written here"))
    expect(page.locator(".ask-trouble")).to_contain_text("item")
    page.get_by_label("The arguments, as JSON").fill('{"item": "figs"}')
    press(page.get_by_role("button", name="Allow what is written here"))
    expect(page.locator(".ask-state")).to_contain_text("allowed and done")
    page.locator(".call > summary").click()
    expect(page.locator(".call-body")).to_contain_text("figs is on the list.")


def test_a_denied_call_is_not_made_and_the_answer_goes_on(llm, come_in, press):
    llm.reply(OLIVES, Script.text("Then not."))
    page = come_in()
    say(page, "Put olives on the shopping list.")
    press(page.get_by_role("button", name="Deny", exact=True))
    expect(page.locator(".ask-state")).to_contain_text("denied by you")
    expect(page.locator(".prose").last).to_have_text("Then not.")
    expect(page.locator(".call-row")).to_be_hidden()


def test_a_service_asks_by_a_form_and_goes_on_with_the_answer(llm, come_in, press):
    llm.reply(Script.tool_calls(("clear_list", {})), Script.text("As you wish."))
    page = come_in()
    say(page, "Clear the list")
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".question blockquote")).to_contain_text("The list has")
    page.get_by_label("Items to keep").fill("-1")
    page.get_by_label("Clear the whole list?").select_option("Yes")
    press(page.get_by_role("button", name="Send answer"))
    expect(page.locator(".field-wrong:not([hidden])")).to_have_text("At least 0 is needed.")
    page.get_by_label("Items to keep").fill("1")
    press(page.get_by_role("button", name="Send answer"))
    expect(page.locator(".question .ask-state")).to_contain_text("question answered by you")
    expect(page.locator(".prose").last).to_have_text("As you wish.")
    page.locator(".call > summary").click()
    expect(page.locator(".call-body")).to_contain_text("1 items are left.")


def test_a_prompt_of_a_service_is_used_from_the_message(llm, come_in):
    llm.reply(Script.text("Soup."))
    page = come_in()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_label("Your message").press_sequentially("/meal")
    expect(page.get_by_role("option")).to_contain_text("/shopping:plan_meal")
    page.keyboard.press("Enter")
    page.get_by_label("occasion").fill('a "rainy" day')
    page.keyboard.press("Enter")
    expect(page.locator(".prose").last).to_have_text("Soup.")
    expect(page.locator(".pending")).to_have_count(0)
    expect(page.locator(".words")).to_have_text('/shopping:plan_meal occasion="a \\"rainy\\" day"')
    expect(page.locator(".attached")).to_contain_text("shopping.plan_meal")


def test_a_picture_goes_with_a_message_and_is_seen_on_the_other_device(llm, come_in):
    llm.reply(Script.text("A picture."))
    page = come_in()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.locator("#attach-files").set_input_files([{"name": "a.png", "mimeType": "image/png", "buffer": PIXEL}])
    expect(page.locator(".chip")).to_have_count(1)
    say(page, "What is this?")
    expect(page.locator(".prose").last).to_have_text("A picture.")
    other = come_in()
    other.goto(page.url)
    expect(other.get_by_role("img", name="a.png")).to_be_visible()
    assert other.locator(".attached .thumb").evaluate("e => e.decode().then(() => e.naturalWidth)") == 1
    stranger = come_in("bob")
    expect(stranger.locator("#connection")).to_have_attribute("data-state", "live")
    (file,) = page.evaluate(
        "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes('/files/'))"
    )
    cid, _, name = file.partition("/sessions/")[2].partition("/files/")
    unknown = [
        f"/sessions/{cid}/files/{'0' * 64}",
        f"/sessions/{cid}/files/..%2Fhistory.db",
        f"/sessions/none/files/{name}",
    ]
    for asker, paths in ((stranger, [file]), (page, unknown)):
        for path in paths:
            answer = asker.evaluate(
                "path => fetch(path).then(async answer => [answer.status, await answer.json()])", path
            )
            assert answer[0] == 404
            assert answer[1]["error"]["code"] == "not_found"


def test_a_text_file_goes_with_a_message(llm, come_in):
    llm.reply(Script.text("It says hello."))
    page = come_in()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.locator("#attach-files").set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"}])
    expect(page.locator(".chip")).to_have_count(1)
    say(page, "What does it say?")
    expect(page.locator(".prose").last).to_have_text("It says hello.")
    expect(page.locator(".attached li")).to_have_text(["a.txt"])
    page.reload()
    expect(page.locator(".attached li")).to_have_text(["a.txt"])
    page.locator(".attached summary").click()
    expect(page.locator(".attached pre")).to_have_text("hello")
