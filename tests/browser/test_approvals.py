"""A call that waits for a yes: what its card shows, what its buttons do, and what they do not do."""

import json
import re

import pytest
from playwright.sync_api import expect

from tom.conversation import asks
from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass
from tom.conversation.usage import Usage
from tom.testing.played_asks import id_of

pytestmark = pytest.mark.browser

C = "c-1"
ARGUMENTS = {
    "id": "note-17",
    "path": "/home/alice/\u202etxt.exe",
    "title": "Shop\u200bping <b>list</b> [x](https://evil.example)",
    "amount": 12345678901234567890,
    "lines": "very long " * 100,
    "tags": ["a", {"deep": None}],
}


def asked(door, arguments=None, cid=C, **options):
    """A run that waits; returns the stored ask."""
    run = door.ask(cid, "clean up my notes")
    door.reply(cid, run, "", calls=[ToolCall("a", "delete_note", json.dumps(arguments or {}))])
    return door.wait_for(door.asks.approval(cid, run, "a", arguments or {"id": "note-17"}, **options))


def answer(door, ask, **options):
    door.append(asks.approval_answered(ask, by="alice", device="tom approvals", **options))


def came(door, ask, *, error=False):
    """The call is made and comes back."""
    run = ask.run_id
    door.append(happened.run_resumed(C, run_id=run))
    door.append(
        happened.tool_called(
            C, run_id=run, turn=0, call_id="a", service="notes", tool="delete_note", arguments=ask.extra["arguments"],
            digest="sha256:0", tool_class=ToolClass.DESTRUCTIVE, key="k",
        )
    )  # fmt: skip
    door.result(C, run, "a", "deleted", error=error)


def the_card(page):
    return page.locator(".ask")


def test_the_card_says_what_why_and_with_which_arguments(door, open_page):
    asked(door, ARGUMENTS, sources=["web.fetch", "mail.read"], reason="It destroys, and strangers' text was read.")
    page = open_page(f"/#/c/{C}")
    card = the_card(page)
    expect(card.get_by_role("heading", level=3)).to_have_text("May Tom call notes · delete_note?")
    expect(card).to_contain_text("may destroy something")
    expect(card.locator(".ask-why")).to_have_text("Why you are asked: It destroys, and strangers' text was read.")
    expect(card.locator(".taint li")).to_have_text(["mail.read", "web.fetch"])
    expect(card.locator(".ask-facts")).to_contain_text("Waits until")
    expect(card.locator(".ask-facts code")).to_have_text("01234567")
    tree = card.locator(".tree")
    expect(tree).to_contain_text("/home/alice/\\u202etxt.exe")
    expect(tree).to_contain_text("Shop\\u200bping <b>list</b> [x](https://evil.example)")
    expect(tree).to_contain_text("12345678901234567890")  # not rounded as a script would
    assert tree.locator("a, b, img").count() == 0
    expect(tree.get_by_role("button", name="Show all 1000 characters")).to_be_visible()
    tree.get_by_role("button", name="Show all 1000 characters").click()
    expect(tree).to_contain_text(("very long " * 100).strip())
    expect(card.get_by_role("button", name="Allow for this conversation")).to_have_count(0)
    expect(page.locator(".mark")).to_have_text("Waits for your answer.")
    expect(page.locator(".call-row")).to_be_hidden()
    expect(page.locator("#waiting")).to_contain_text("What you write now comes after it.")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(card).to_be_focused()


def test_allowed_once_it_is_sent_with_its_digest_and_the_card_follows_the_call(door, open_page, press):
    ask = asked(door)
    page = open_page(f"/#/c/{C}")
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".ask-state")).to_contain_text("allowed by you (Chrome on Linux)")
    assert door.asks.answers == [(id_of(ask), {"decision": "allow", "arguments_digest": ask.extra["arguments_digest"]})]
    came(door, ask)
    expect(page.locator(".ask-state")).to_contain_text("allowed and done")
    expect(page.locator(".call-state")).to_have_text("done · 420 ms")
    expect(the_card(page).get_by_role("button")).to_have_count(0)
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator(".mark")).not_to_contain_text("interruption")
    page.locator(".ask summary").first.click()
    expect(page.locator(".ask-body")).to_contain_text("note-17")


def test_nothing_has_the_focus_on_arrival_and_enter_never_allows(door, open_page, press):
    run = door.ask(C, "clean up my notes")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.reply(C, run, "", calls=[ToolCall("a", "delete_note", "{}")])
    door.wait_for(door.asks.approval(C, run, "a", {"id": "1"}, may_remember=True))
    expect(page.get_by_role("button", name="Allow once")).to_be_enabled()
    expect(page.get_by_label("Your message")).to_be_focused()
    for name in ("Allow once", "Allow for this conversation", "Edit and allow"):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
    expect(page.locator(".ask-editor")).to_have_count(0)
    assert door.asks.answers == []
    page.get_by_role("button", name="Allow once").focus()
    page.keyboard.press("Space")
    expect(page.locator(".ask-state")).to_contain_text("allowed")
    assert len(door.asks.answers) == 1


def test_buttons_do_nothing_right_after_they_appeared_or_moved(door, open_page, press):
    asked(door)
    page = open_page(f"/#/c/{C}")
    allow = page.get_by_role("button", name="Allow once")
    allow.wait_for()
    allow.dispatch_event("click")
    expect(allow).to_have_attribute("aria-disabled", "true")
    expect(allow).to_be_enabled()
    page.evaluate("document.querySelector('.asked').style.paddingTop = '90px'")
    allow.dispatch_event("click")
    expect(allow).to_have_attribute("aria-disabled", "true")
    assert door.asks.answers == []
    began = page.evaluate("performance.now()")
    press(allow)
    expect(page.locator(".ask-state")).to_contain_text("allowed")
    assert page.evaluate("performance.now()") - began > 300
    assert len(door.asks.answers) == 1


def test_edited_arguments_are_sent_as_written_and_mistakes_are_said_beside_them(door, open_page, press):
    ask = asked(door, {"to": "maria\u200b@example.org", "amount": 12345678901234567890})
    page = open_page(f"/#/c/{C}")
    press(page.get_by_role("button", name="Edit and allow"))
    field = page.get_by_label("The arguments, as JSON")
    expect(field).to_be_focused()
    expect(field).to_have_value(re.compile(r'"maria\\u200b@example\.org",\s+"amount": 12345678901234567890'))
    allow = page.get_by_role("button", name="Allow what is written here")
    field.fill('{"to": ')
    press(allow)
    expect(page.locator(".ask-trouble")).to_contain_text("This is not JSON")
    field.fill("[1]")
    press(allow)
    expect(page.locator(".ask-trouble")).to_have_text("The arguments must be one JSON object.")
    field.fill('{"to": "bob@example.org", "amount": 98765432109876543210}')
    door.asks.refusal = (422, "invalid_answer", "amount - too much", {})
    press(allow)
    expect(page.get_by_role("alert").filter(has_text="too much")).to_have_text("amount - too much")
    expect(field).to_have_value('{"to": "bob@example.org", "amount": 98765432109876543210}')
    door.asks.refusal = None
    press(allow)
    expect(page.locator(".ask-state")).to_contain_text("edited and allowed")
    _, sent = door.asks.answers[-1]
    assert sent["arguments"] == {"to": "bob@example.org", "amount": 98765432109876543210}
    assert sent["arguments_digest"] == ask.extra["arguments_digest"]
    page.locator(".ask summary").first.click()
    expect(page.locator(".ask-body .tree").last).to_contain_text("98765432109876543210")
    expect(page.locator(".ask-body")).to_contain_text("maria\\u200b@example.org")


def test_unchanged_arguments_are_not_an_edit(door, open_page, press):
    asked(door)
    page = open_page(f"/#/c/{C}")
    press(page.get_by_role("button", name="Edit and allow"))
    press(page.get_by_role("button", name="Allow what is written here"))
    expect(page.locator(".ask-state")).to_contain_text("allowed")
    assert "arguments" not in door.asks.answers[0][1]


@pytest.mark.parametrize("note", ["", "not this one"])
def test_denied_with_or_without_a_note(door, open_page, press, note):
    ask = asked(door)
    page = open_page(f"/#/c/{C}")
    if note:
        press(page.get_by_role("button", name="Deny with a note"))
        page.get_by_label("Why not? Tom reads it.").fill(note)
    press(page.get_by_role("button", name="Deny", exact=True))
    expect(page.locator(".ask-state")).to_contain_text("denied by you")
    assert door.asks.answers[0][1].get("note", "") == note
    door.append(happened.run_resumed(C, run_id=ask.run_id))
    door.append(
        happened.tool_returned(
            C,
            "The user declined.",
            run_id=ask.run_id,
            turn=0,
            call_id="a",
            is_error=True,
            duration_ms=0,
            denied="person",
        )
    )
    expect(page.locator(".ask-state")).to_contain_text("denied by you")
    expect(page.locator(".call-row")).to_be_hidden()


def test_allowed_for_the_conversation_only_where_it_is_offered(door, open_page, press):
    asked(door, may_remember=True, tool_class=ToolClass.WRITE_EXTERNAL)
    page = open_page(f"/#/c/{C}")
    press(page.get_by_role("button", name="Allow for this conversation"))
    expect(page.locator(".ask-state")).to_contain_text("allowed for this conversation by you")
    assert door.asks.answers[0][1]["remember"] == "conversation"


def test_an_answer_from_another_device_changes_the_card_at_once(door, open_page):
    ask = asked(door)
    page = open_page(f"/#/c/{C}")
    expect(page.get_by_role("button", name="Allow once")).to_be_visible()
    answer(door, ask, decision="allow")
    expect(page.locator(".ask-state")).to_contain_text("allowed by you (tom approvals)")
    expect(the_card(page).get_by_role("button")).to_have_count(0)
    came(door, ask, error=True)
    expect(page.locator(".ask-state")).to_contain_text("allowed, but it failed")


@pytest.mark.parametrize(
    ("code", "status", "details", "words"),
    [
        (
            "already_answered",
            409,
            {"outcome": "deny", "answered_at": "2026-01-01T10:00:00Z"},
            "denied on another device",
        ),
        ("already_answered", 409, {"outcome": "cancelled"}, "cancelled with its run"),
        ("expired", 410, {}, "expired: nobody answered in time"),
    ],
)
def test_who_comes_too_late_is_told_so(door, open_page, press, code, status, details, words):
    asked(door)
    page = open_page(f"/#/c/{C}")
    door.asks.refusal = (status, code, "Too late.", details)
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".ask-state")).to_contain_text(words)
    expect(the_card(page).get_by_role("button")).to_have_count(0)


def test_a_call_that_changed_and_an_answer_that_was_lost_leave_the_card_open(door, open_page, press):
    asked(door)
    page = open_page(f"/#/c/{C}")
    door.asks.refusal = (409, "arguments_changed", "Changed.", {})
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".ask-trouble")).to_contain_text("no longer the one that you see")
    page.route("**/approvals/*", lambda route: route.abort())
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".ask-trouble")).to_contain_text("did not reach Tom")
    page.unroute("**/approvals/*")
    door.asks.refusal = None
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator(".ask-state")).to_contain_text("allowed")


def test_expiry_and_the_end_of_the_run_close_the_card(door, open_page):
    first = asked(door)
    second = asked(door, cid="c-2")
    page = open_page(f"/#/c/{C}")
    expect(page.get_by_role("button", name="Allow once")).to_be_visible()
    door.append(asks.approval_answered(first, decision="deny", by=asks.EXPIRED))
    expect(page.locator(".ask-state")).to_contain_text("expired: nobody answered in time")
    page.goto(f"{door.url}/#/c/c-2")
    expect(page.get_by_role("button", name="Allow once")).to_be_visible()
    door.append(happened.run_cancelled("c-2", run_id=second.run_id, usage=Usage(), reason="stopped"))
    expect(page.locator(".ask-state")).to_contain_text("cancelled with its run")


def test_a_call_whose_outcome_nobody_knows_is_said_to_be_that(door, open_page):
    ask = asked(door)
    answer(door, ask, decision="allow")
    door.append(happened.run_resumed(C, run_id=ask.run_id))
    door.call(C, ask.run_id, "a", "delete_note", {})
    door.append(
        happened.tool_unresolved(C, "Who knows?", run_id=ask.run_id, turn=0, call_id="a", service="notes", tool="x")
    )
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".ask-state")).to_contain_text("whether it happened is not known")


def test_a_message_while_the_run_waits_is_queued_behind_it_and_escape_does_not_stop_it(door, open_page, press):
    asked(door)
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    expect(page.locator("#waiting")).to_be_visible()
    page.get_by_label("Your message").fill("and then?")
    page.keyboard.press("Enter")
    expect(page.locator(".mark").last).to_have_text("Waiting for the answer before it…")
    page.keyboard.press("Escape")
    press(page.get_by_role("button", name="Deny with a note"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Allow once")).to_be_visible()
    assert door.actions("stop") == []
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".ask-state")).to_contain_text("cancelled with its run")


def test_a_card_on_a_small_screen_and_in_persian_stays_within_it(door, open_page):
    asked(door, {"متن": "می\u200cنویسم: سلام دنیا", "x" * 300: "y" * 350}, reason="این ابزار می\u200cنویسد.")
    page = open_page(f"/#/c/{C}", viewport={"width": 320, "height": 640}, has_touch=True)
    expect(page.locator(".ask-why")).to_have_text("Why you are asked: این ابزار می\u200cنویسد.")
    expect(page.locator(".tree")).to_contain_text("می\\u200cنویسم")
    assert page.locator(".tree .string").first.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.locator("#scroller").evaluate("e => e.scrollWidth <= e.clientWidth")
    sizes = page.locator(".ask-buttons button").evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
    assert min(sizes) >= 40
