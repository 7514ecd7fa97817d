"""Streams that overlap, break off and begin again: the page shows every word once."""

import pytest
from playwright.sync_api import expect

from tom.conversation import event as happened

pytestmark = pytest.mark.browser

C = "c-1"


def test_fragments_that_overlap_or_come_twice_are_joined_by_offset(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "😀 naïve ", offset=0)
    door.say(C, run, "ve سلام", offset=5)
    door.say(C, run, "😀 naïve ", offset=0)
    door.say(C, run, "م end", offset=11)
    expect(page.locator(".prose").last).to_have_text("😀 naïve سلام end")


def test_a_missing_fragment_is_asked_for(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "one ", offset=0)
    expect(page.locator(".prose").last).to_have_text("one")
    topics = next(iter(door.sockets.values()))
    topics.clear()
    door.say(C, run, "two ", offset=4)
    topics.add(C)
    door.say(C, run, "three", offset=8)
    expect(page.locator(".prose").last).to_have_text("one two three")
    assert len(door.actions("resume")) == 2


def test_a_missing_event_is_asked_for(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    topics = next(iter(door.sockets.values()))
    topics.clear()
    door.reply(C, run, "the answer")
    topics.add(C)
    door.complete(C, run)
    expect(page.locator(".prose").last).to_have_text("the answer")
    assert [frame["payload"]["after"] for frame in door.actions("resume")] == [0, 3]


def test_a_connection_cut_in_the_middle_goes_on_where_it_was(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "before ", offset=0)
    expect(page.locator(".prose").last).to_have_text("before")
    door.closed = True
    door.cut(1011)
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    door.say(C, run, "while away ", offset=7)
    door.closed = False
    page.get_by_role("button", name="Retry now").click()
    door.wait_for_reader(C)
    door.say(C, run, "after", offset=18)
    expect(page.locator(".prose").last).to_have_text("before while away after")
    expect(page.locator(".words")).to_have_count(1)
    resumed = door.actions("resume")[-1]["payload"]
    assert resumed["after"] == 3
    assert resumed["epoch"] == "epoch-1"


def test_a_restart_of_the_server_is_followed_without_a_click(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.cut(1012)
    door.wait_for_reader(C)
    door.append(happened.run_resumed(C, run_id=run))
    door.say(C, run, "again", offset=0, attempt=2)
    expect(page.locator(".prose").last).to_have_text("again")
    expect(page.locator(".note")).to_have_text("Started again (attempt 2)")
    expect(page.locator(".mark")).to_contain_text("Went on after an interruption.")


def test_the_connection_is_retried_by_itself(door, open_page):
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    door.cut(1013)
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_another_attempt_withdraws_what_was_said(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "wrong start", offset=0)
    expect(page.locator(".prose").last).to_have_text("wrong start")
    door.restart(C, run, turn=0, attempt=2)
    expect(page.locator(".prose").last).to_have_text("")
    door.say(C, run, "late fragment of the first", offset=11, attempt=1)
    door.say(C, run, "right", offset=0, attempt=2)
    expect(page.locator(".prose").last).to_have_text("right")


def test_a_store_that_numbers_anew_is_read_from_the_beginning(door, open_page):
    door.answered(C, "old question", "old answer")
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".prose").last).to_have_text("old answer")
    door.events[C] = []
    door.epoch = "epoch-2"
    door.answered(C, "new question", "new answer")
    door.cut(1012)
    expect(page.locator(".prose").last).to_have_text("new answer")
    expect(page.locator(".words")).to_have_text(["new question"])


def test_a_reload_and_a_second_device_show_the_same(door, open_page):
    run = door.ask(C, "go")
    first = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    door.say(C, run, "half an ", offset=0)
    second = open_page(f"/#/c/{C}", viewport={"width": 390, "height": 800})
    expect(second.locator(".prose").last).to_have_text("half an")
    door.say(C, run, "answer", offset=8)
    for page in (first, second):
        expect(page.locator(".prose").last).to_have_text("half an answer")
    first.reload()
    expect(first.locator(".prose").last).to_have_text("half an answer")
    door.reply(C, run, "half an answer, and the rest")
    door.complete(C, run)
    for page in (first, second):
        expect(page.locator(".prose").last).to_have_text("half an answer, and the rest")
        expect(page.locator(".words")).to_have_text(["go"])


def test_a_long_conversation_opens_at_its_end_and_shows_earlier_parts_on_demand(door, open_page):
    for number in range(130):
        door.answered(C, f"question {number}", f"answer {number}")
    page = open_page(f"/#/c/{C}")
    expect(page.locator(".prose").last).to_have_text("answer 129")
    assert door.actions("resume")[0]["payload"]["after"] == 521 - 300
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".words").first).to_have_text("question 0")
    expect(page.locator(".words")).to_have_count(130)
    expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()
