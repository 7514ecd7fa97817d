"""Hostile text, wherever it stands, does nothing."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tom.conversation import upkeep
from tom.conversation.elicitation import Elicitation
from tom.conversation.part import ToolCall

pytestmark = pytest.mark.browser

C = "c-1"
HOSTILE = json.loads((Path(__file__).parents[1] / "gateway" / "cases" / "xss.json").read_text())


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


@pytest.mark.parametrize("policy", ["with", "without"])
def test_hostile_text_does_nothing_in_what_is_asked(door, open_page, policy):
    door.asks.prompts = [
        {"service": "x", "name": text, "prompt": text, "title": text, "description": text, "arguments": []}
        for text in HOSTILE
    ]
    for number, text in enumerate(HOSTILE):
        cid = f"c-{number}"
        run = door.ask(cid, "go")
        door.reply(cid, run, "", calls=[ToolCall("a", "x", "{}"), ToolCall("b", "x", "{}"), ToolCall("c", "x", "{}")])
        fields = {text: {"type": "string", "title": text, "description": text, "enum": [text], "enumNames": [text]}}
        door.append(door.asks.approval(cid, run, "a", {text: [text]}, tool=text, reason=text, sources=[text]))
        door.append(door.asks.question(cid, run, "b", Elicitation("form", text, {"properties": fields})))
        door.wait_for(door.asks.question(cid, run, "c", Elicitation("url", text, url=text)))
        door.append(upkeep.conversation_changed(cid, {"title": text}))
    page = open_page("/#/inbox", bypass_csp=policy == "without")
    expect(page.locator("#inbox .ask")).to_have_count(3 * len(HOSTILE))
    page.get_by_role("link", name="New conversation").first.click()
    page.get_by_label("Your message").press_sequentially("/")
    expect(page.get_by_role("option").first).to_be_visible()
    page.get_by_role("link", name="Inbox").click()
    page.locator("#inbox .ask *").evaluate_all(
        """all => { for (const e of all) for (const type of ['mouseover', 'focus', 'toggle'])
          e.dispatchEvent(new Event(type, {bubbles: true, cancelable: true})); }"""
    )
    page.wait_for_timeout(300)
    assert page.locator("#inbox, #menu").locator("script, img, iframe, style, object, base").count() == 0
    links = page.locator("#inbox a").evaluate_all("all => all.map(a => [a.protocol, a.host === location.host, a.rel])")
    for protocol, own, rel in links:
        assert own or (protocol in {"https:", "http:"} and rel == "noopener noreferrer")
