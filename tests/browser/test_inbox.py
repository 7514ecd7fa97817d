"""The inbox: what waits in all conversations."""

import re

import pytest
from playwright.sync_api import expect

from tom.conversation import asks
from tom.conversation.elicitation import Elicitation
from tom.conversation.part import ToolCall
from tom.testing.played_asks import id_of

pytestmark = pytest.mark.browser


def asked(door, cid, text, tool="delete_note"):
    run = door.ask(cid, text)
    door.reply(cid, run, "", calls=[ToolCall("a", tool, "{}")])
    return door.wait_for(door.asks.approval(cid, run, "a", {"of": text}, tool=tool))


def questioned(door, cid, text):
    run = door.ask(cid, text)
    door.reply(cid, run, "", calls=[ToolCall("a", "book", "{}")])
    return door.wait_for(door.asks.question(cid, run, "a", Elicitation("form", "Which one?", {"properties": {}})))


def test_it_counts_lists_newest_first_and_filters(door, open_page):
    page = open_page("/")
    expect(page.get_by_role("link", name="Inbox, nothing waits for you")).to_be_visible()
    asked(door, "c-1", "first")
    expect(page.locator("#said")).to_have_text("Approval needed: notes, delete_note.")
    questioned(door, "c-2", "second")
    asked(door, "c-3", "third", tool="send_mail")
    expect(page).to_have_title("(3) New conversation · Tom")
    expect(page.locator("#inbox-count")).to_have_text("3")
    page.get_by_role("link", name="Inbox, 3 wait for you").click()
    expect(page).to_have_title("(3) Inbox · Tom")
    heads = page.locator("#inbox .inbox-head a")
    expect(heads).to_have_text(["third", "second", "first"])
    expect(page.get_by_label("Your message")).to_be_hidden()
    page.get_by_role("button", name="Questions").click()
    expect(heads).to_have_text(["second"])
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Filter").fill("send_")
    expect(heads).to_have_text(["third"])
    page.get_by_label("Filter").fill("nothing such")
    expect(page.locator(".inbox-empty")).to_have_text("Nothing that waits fits the filter.")
    page.get_by_label("Filter").fill("")
    page.get_by_role("link", name="first", exact=True).last.click()
    expect(page.locator("#transcript .ask")).to_have_count(1)
    expect(page.locator("#inbox")).to_be_hidden()


def test_a_waiting_conversation_is_marked_in_the_list(door, open_page):
    asked(door, "c-1", "first")
    page = open_page("/")
    expect(
        page.get_by_role("navigation").get_by_role("link", name=re.compile("^first ?, waits for you$"))
    ).to_be_visible()


def test_many_are_denied_at_once_and_none_is_allowed_that_way(door, open_page, press):
    first = asked(door, "c-1", "first")
    second = asked(door, "c-2", "second")
    asked(door, "c-3", "third")
    questioned(door, "c-4", "fourth")
    page = open_page("/#/inbox")
    expect(page.locator("#inbox .ask")).to_have_count(4)
    expect(page.get_by_role("checkbox")).to_have_count(3)
    for text in ("first", "second"):
        page.locator("#inbox li", has_text=f"of{text}").get_by_role("checkbox").check()
    batch = page.locator(".inbox-batch")
    assert batch.get_by_role("button").all_inner_texts() == ["Deny 2 chosen", "Choose none"]
    press(batch.get_by_role("button", name="Deny 2 chosen"))
    expect(page.locator("#inbox .ask-state")).to_have_count(2)
    assert {(ask, body["decision"]) for ask, body in door.asks.answers} == {
        (id_of(first), "deny"),
        (id_of(second), "deny"),
    }
    expect(batch).to_be_hidden()
    expect(page.locator("#inbox-count")).to_have_text("2")


def test_an_answer_elsewhere_is_seen_and_the_count_falls(door, open_page):
    ask = asked(door, "c-1", "first")
    page = open_page(f"/#/inbox/{id_of(ask)}")
    expect(page.get_by_role("button", name="Allow once")).to_be_visible()
    door.append(asks.approval_answered(ask, decision="allow", by="alice", device="tom approvals"))
    expect(page.locator("#inbox .ask-state")).to_contain_text("allowed by you (tom approvals)")
    expect(page.get_by_role("button", name="Allow once")).to_have_count(0)
    expect(page.locator("#inbox-count")).to_be_hidden()
    expect(page).to_have_title("Inbox · Tom")


def test_one_is_answered_in_the_inbox_and_its_conversation_goes_on(door, open_page, press):
    ask = asked(door, "c-1", "first")
    page = open_page("/#/inbox")
    press(page.get_by_role("button", name="Allow once"))
    expect(page.locator("#inbox .ask-state")).to_contain_text("allowed by you")
    page.locator("#inbox").get_by_role("link", name="first").click()
    expect(page.locator("#transcript .ask-state")).to_contain_text("allowed by you")
    page.get_by_role("link", name="Inbox").click()
    expect(page.locator(".inbox-empty")).to_have_text("Nothing waits for you.")
    assert len(door.asks.answers) == 1
    assert ask.extra["arguments_digest"] == door.asks.answers[0][1]["arguments_digest"]


def test_an_ask_that_is_not_open_is_said_to_be_that(door, open_page):
    page = open_page("/#/inbox/01NOBODYKNOWS")
    expect(page.locator(".inbox-empty")).to_contain_text("does not wait for an answer any more")
    page.get_by_role("link", name="All that waits for you").click()
    expect(page.locator(".inbox-empty")).to_have_text("Nothing waits for you.")


def test_what_happened_while_the_connection_was_cut_is_caught_up(door, open_page):
    first = asked(door, "c-1", "first")
    page = open_page("/#/inbox")
    expect(page.locator("#inbox .ask")).to_have_count(1)
    door.closed = True
    door.cut(1011)
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    door.append(asks.approval_answered(first, decision="deny", by="alice"))
    asked(door, "c-2", "second")
    door.closed = False
    page.get_by_role("button", name="Retry now").click()
    expect(page.locator("#inbox .ask[data-state='pending']")).to_have_count(1)
    expect(page.locator("#inbox .ask-state")).to_contain_text("does not wait any more")
    expect(page.locator("#inbox-count")).to_have_text("1")
