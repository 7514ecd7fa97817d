"""What a service asks: its form, its page elsewhere, and the person's answer."""

import pytest
from playwright.sync_api import expect

from tom.conversation import asks
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.part import ToolCall
from tom.testing.played_asks import id_of

pytestmark = pytest.mark.browser

C = "c-1"
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Full name", "minLength": 2, "maxLength": 10},
        "seats": {"type": "integer", "minimum": 1, "maximum": 6, "title": "Seats"},
        "price": {"type": "number", "title": "Most to pay"},
        "class": {"type": "string", "title": "Class", "enum": ["1", "2"], "enumNames": ["First", "Second"]},
        "insured": {"type": "boolean", "title": "Insurance"},
        "day": {"type": "string", "format": "date", "title": "Day"},
        "mail": {"type": "string", "format": "email", "title": "E-mail"},
        "extras": {
            "type": "array",
            "title": "Extras",
            "items": {"anyOf": [{"const": "bike", "title": "Bicycle"}, {"const": "dog", "title": "Dog"}]},
        },
    },
    "required": ["name", "seats"],
}


def asked(door, question):
    run = door.ask(C, "book a train")
    door.reply(C, run, "", calls=[ToolCall("a", "book", "{}")])
    door.call(C, run, "a", "book", {})
    return door.wait_for(door.asks.question(C, run, "a", question))


def test_a_form_is_filled_in_and_sent_with_the_types_that_were_asked_for(door, open_page, press):
    ask = asked(door, Elicitation("form", "Which <b>train</b>?", SCHEMA))
    page = open_page(f"/#/c/{C}")
    card = page.locator(".ask")
    expect(card.get_by_role("heading")).to_have_text("The service travel asks you something")
    expect(card.locator("blockquote")).to_have_text("Which <b>train</b>?")
    expect(card.locator("figcaption")).to_have_text("written by the service travel, not by Tom")
    expect(page.get_by_label("Your message")).to_be_focused()
    card.get_by_label("Full name").fill("Alice")
    card.get_by_label("Seats").fill("۴")
    card.get_by_label("Most to pay").fill("12.5")
    card.get_by_label("Class").select_option("Second")
    card.get_by_label("Insurance").select_option("No")
    card.get_by_label("Day").fill("2026-12-24")
    card.get_by_label("Dog").check()
    press(card.get_by_role("button", name="Send answer"))
    expect(page.locator(".ask-state")).to_contain_text("question answered by you")
    content = {"name": "Alice", "seats": 4, "price": 12.5, "class": "2", "insured": False, "day": "2026-12-24"}
    content["extras"] = ["dog"]
    assert door.asks.answers == [(id_of(ask), {"outcome": "accept", "content": content})]
    page.locator(".ask summary").first.click()
    expect(page.locator(".ask-body .tree")).to_contain_text("Alice")


def test_mistakes_are_said_at_their_fields_here_and_by_the_server(door, open_page, press):
    asked(door, Elicitation("form", "Which train?", SCHEMA))
    page = open_page(f"/#/c/{C}")
    card = page.locator(".ask")
    card.get_by_label("Full name").fill("A")
    card.get_by_label("Seats").fill("7")
    card.get_by_label("E-mail").fill("nobody")
    send = card.get_by_role("button", name="Send answer")
    press(send)
    expect(card.locator(".field-wrong:not([hidden])")).to_have_text(
        ["At least 2 characters are needed.", "At most 6 is possible.", "This is no e-mail address."]
    )
    expect(card.get_by_label("Full name")).to_be_focused()
    expect(card.get_by_label("Full name")).to_have_attribute("aria-invalid", "true")
    card.get_by_label("Full name").fill("Alice")
    card.get_by_label("Seats").fill("")
    card.get_by_label("E-mail").fill("a@b.example")
    press(send)
    expect(card.locator(".field-wrong:not([hidden])")).to_have_text(["This is needed."])
    assert door.asks.answers == []
    card.get_by_label("Seats").fill("3")
    errors = [{"field": "seats", "message": "only 2 are free"}, {"field": "", "message": "Try again."}]
    door.asks.refusal = (422, "invalid_answer", "It does not fit.", {"errors": errors})
    press(send)
    expect(card.locator(".field-wrong:not([hidden])")).to_have_text(["only 2 are free"])
    expect(card.locator(".ask-trouble")).to_have_text("Try again.")
    expect(card.get_by_label("Seats")).to_have_value("3")
    door.asks.refusal = None
    card.get_by_label("Seats").fill("2")
    press(send)
    expect(page.locator(".ask-state")).to_contain_text("question answered")


@pytest.mark.parametrize(
    ("button", "outcome", "words"), [("Decline", "decline", "declined"), ("Cancel", "cancel", "cancelled")]
)
def test_declining_and_cancelling_are_two_things(door, open_page, press, button, outcome, words):
    ask = asked(door, Elicitation("form", "Which train?", SCHEMA))
    page = open_page(f"/#/c/{C}")
    press(page.get_by_role("button", name=button))
    expect(page.locator(".ask-state")).to_contain_text(f"question {words} by you")
    assert door.asks.answers == [(id_of(ask), {"outcome": outcome})]


@pytest.mark.parametrize("name", ["password", "api_key", "Access token", "cardPin"])
def test_a_secret_is_not_asked_for_by_a_form(door, open_page, name):
    fields = {"user": {"type": "string"}, "x": {"type": "string", "title": name.replace("cardPin", "PIN")}}
    asked(door, Elicitation("form", "Log in", {"type": "object", "properties": fields}))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".ask-refused")).to_contain_text("Secrets are never entered here")
    expect(page.locator(".ask input")).to_have_count(0)
    expect(page.get_by_role("button", name="Send answer")).to_have_count(0)
    expect(page.get_by_role("button", name="Decline")).to_be_visible()


def test_a_place_elsewhere_shows_its_whole_host_opens_apart_and_waits(door, open_page, press):
    ask = asked(door, Elicitation("url", "Please pay.", url="https://pay.exämple.org:8443/basket?id=17"))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".host-name")).to_have_text("pay.xn--exmple-cua.org:8443")
    link = page.get_by_role("link", name="Open pay.xn--exmple-cua.org:8443")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("href", "https://pay.xn--exmple-cua.org:8443/basket?id=17")
    page.reload()
    expect(link).to_be_visible()
    assert door.asks.answers == []
    press(page.get_by_role("button", name="I am done there"))
    expect(page.locator(".ask-state")).to_contain_text("question answered by you")
    assert door.asks.answers == [(id_of(ask), {"outcome": "accept"})]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://bank.example@evil.example/", "file:///etc/passwd", "x"]
)
def test_an_address_that_is_none_is_not_opened(door, open_page, url):
    asked(door, Elicitation("url", "Go there", url=url))
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".address")).to_have_text(url)
    expect(page.locator(".ask a")).to_have_count(0)
    expect(page.get_by_role("button", name="I am done there")).to_have_count(0)


def test_a_question_answered_elsewhere_keeps_nothing_to_fill_in(door, open_page):
    ask = asked(door, Elicitation("form", "Which train?", SCHEMA))
    page = open_page(f"/#/c/{C}")
    page.get_by_label("Full name").fill("half a na")
    door.append(asks.elicitation_answered(ask, ElicitationAnswer("decline"), by="alice", device="Firefox on Android"))
    expect(page.locator(".ask-state")).to_contain_text("question declined by you (Firefox on Android)")
    expect(page.locator(".ask input")).to_have_count(0)


def test_escape_in_a_form_stops_nothing(door, open_page, press):
    asked(door, Elicitation("form", "Which train?", SCHEMA))
    page = open_page(f"/#/c/{C}")
    page.get_by_label("Full name").press("Escape")
    expect(page.get_by_label("Full name")).to_be_visible()
    assert door.actions("stop") == []
