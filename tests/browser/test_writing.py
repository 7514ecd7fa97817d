"""Writing a message: commands, prompts of services, files, and titles that change meanwhile."""

import base64
import struct
import zlib

import pytest
from playwright.sync_api import expect

from tom.conversation import upkeep

pytestmark = pytest.mark.browser

C = "c-1"
PLAN = {
    "service": "travel",
    "name": "plan",
    "prompt": "plan",
    "title": "Plan a trip",
    "description": "With stops",
    "arguments": [
        {"name": "city", "description": "Where to", "required": True},
        {"name": "days", "description": "", "required": False},
    ],
}


def png():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0\xff\0\0\xff\0\0" * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = {"name": "cat.png", "mimeType": "image/png", "buffer": png()}
TEXT = {"name": "notes.md", "mimeType": "text/markdown", "buffer": "# سلام".encode()}


def field(page):
    return page.get_by_label("Your message")


# --- commands ------------------------------------------------------------------------------------------------------


def test_a_slash_lists_commands_and_prompts_and_the_keyboard_chooses(door, open_page):
    door.asks.prompts = [PLAN]
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    field(page).press_sequentially("/")
    options = page.get_by_role("option")
    expect(options).to_have_text(
        ["/newNew conversation", "/stopStop the answer", "/inboxWhat waits for you", "/helpKeys and commands",
         "/travel:planPlan a trip: With stops"]
    )  # fmt: skip
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    expect(field(page)).to_have_attribute("aria-activedescendant", "menu-4")
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_hidden()
    expect(field(page)).to_have_value("/")
    page.keyboard.type("inb")
    expect(options).to_have_text(["/inboxWhat waits for you"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Waiting for you")).to_be_visible()
    assert door.actions("chat") == []


def test_a_prompt_asks_for_its_arguments_and_is_sent_by_name(door, open_page):
    door.asks.prompts = [PLAN]
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    field(page).press_sequentially("/trpl")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    city = page.get_by_label("city")
    expect(city).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".field-wrong:not([hidden])")).to_have_text("This is needed.")
    city.fill("Basel")
    page.keyboard.press("Enter")
    expect(page.locator(".words")).to_contain_text("/travel:plan")
    expect(field(page)).to_be_focused()
    (sent,) = door.actions("prompt")
    assert sent["payload"] == {
        "name": "travel:plan",
        "arguments": {"city": "Basel"},
        "conversation_id": next(iter(door.events)),
    }


def test_prompts_that_come_late_are_offered_for_what_is_written_by_then(door, open_page):
    door.asks.prompts = [PLAN]
    page = open_page("/")
    held = []
    page.route("**/prompts", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    field(page).press_sequentially("/")
    expect(page.get_by_role("option")).to_have_count(4)
    field(page).press_sequentially("trpl")
    expect(page.locator("#menu")).to_be_hidden()
    held[0].continue_()
    expect(page.get_by_role("option")).to_have_text(["/travel:planPlan a trip: With stops"])


def test_a_list_without_prompts_says_why(door, open_page):
    page = open_page("/")
    field(page).press_sequentially("/")
    expect(page.locator(".menu-why")).to_have_text("No service offers a prompt.")
    page.route("**/prompts", lambda route: route.abort())
    page.reload()
    field(page).fill("")
    field(page).press_sequentially("/")
    expect(page.locator(".menu-why")).to_have_text("The prompts of your services cannot be listed now.")


def test_help_opens_over_the_page_and_gives_the_focus_back(door, open_page):
    run = door.ask(C, "go")
    page = open_page(f"/#/c/{C}")
    door.wait_for_reader(C)
    field(page).press_sequentially("/help")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Keys and commands")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(field(page)).to_be_focused()
    assert door.actions("stop") == []
    assert run


def test_a_path_is_an_ordinary_message(door, open_page):
    page = open_page("/")
    field(page).press_sequentially("/etc/hosts is empty")
    expect(page.locator("#menu")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator(".words")).to_have_text("/etc/hosts is empty")


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_are_shown_sent_and_can_be_taken_back(door, open_page):
    page = open_page("/")
    page.locator("#attach-files").set_input_files([PICTURE, TEXT, {**TEXT, "name": "other.txt"}])
    expect(page.locator(".chip")).to_have_count(3)
    expect(page.locator(".chip .thumb")).to_have_count(1)
    page.get_by_role("button", name="Remove other.txt").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    field(page).fill("What is this?")
    page.keyboard.press("Enter")
    expect(page.locator(".attached li")).to_have_count(2)
    expect(page.locator(".chip")).to_have_count(0)
    (sent,) = door.actions("chat")
    assert sent["payload"]["attachments"] == [
        {"type": "image", "media_type": "image/png", "data": base64.b64encode(png()).decode(), "name": "cat.png"},
        {"type": "text", "name": "notes.md", "data": "# سلام"},
    ]


def test_what_cannot_be_attached_is_said_and_the_rest_is_kept(door, open_page):
    page = open_page("/")
    large = {"name": "large.txt", "mimeType": "text/plain", "buffer": b"x" * (5 * 1024 * 1024 + 1)}
    rubbish = {"name": "x.bin", "mimeType": "application/octet-stream", "buffer": b"\0\xff"}
    empty = {"name": "empty.txt", "mimeType": "text/plain", "buffer": b" \n"}
    page.locator("#attach-files").set_input_files(
        [large, rubbish, empty, *[{**TEXT, "name": f"{n}"} for n in range(5)]]
    )
    expect(page.locator(".chip")).to_have_count(4)
    trouble = page.locator("#attachment-trouble")
    expect(trouble).to_contain_text("“large.txt” is too large: a file may have 5.0 MB.")
    expect(trouble).to_contain_text("“x.bin” is neither a picture (PNG, JPEG, WebP, GIF) nor a text.")
    expect(trouble).to_contain_text("“empty.txt” is empty.")
    expect(trouble).to_contain_text("a message takes at most 4 files")


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(door, open_page, way):
    page = open_page("/")
    page.evaluate(
        """([bytes, way]) => {
          const carried = new DataTransfer();
          carried.items.add(new File([new Uint8Array(bytes)], "cat.png", {type: "image/png"}));
          const field = document.querySelector("#composer");
          const options = {bubbles: true, cancelable: true};
          if (way === "paste") field.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: carried}));
          else document.querySelector("#transcript").dispatchEvent(new DragEvent("drop", {...options, dataTransfer: carried}));
        }""",
        [list(png()), way],
    )
    expect(page.locator(".chip .thumb")).to_have_count(1)


def test_a_long_paste_becomes_a_file_and_can_be_put_back(door, open_page):
    page = open_page("/")
    text = "word " * 1700
    paste = """text => {
      const carried = new DataTransfer();
      carried.setData("text/plain", text);
      const event = new ClipboardEvent("paste", {bubbles: true, cancelable: true, clipboardData: carried});
      return document.querySelector("#composer").dispatchEvent(event);
    }"""
    assert page.evaluate(paste, "short") is True
    assert page.evaluate(paste, text) is False
    expect(page.locator(".chip-name")).to_contain_text("pasted-text.txt")
    expect(field(page)).to_have_value("")
    page.get_by_role("button", name="Put pasted-text.txt back into the message").click()
    expect(field(page)).to_have_value(text)
    expect(page.locator(".chip")).to_have_count(0)


def test_files_stay_with_the_conversation_they_were_chosen_for(door, open_page):
    door.answered("c-1", "one", "1")
    door.answered("c-2", "two", "2")
    page = open_page("/#/c/c-1")
    page.locator("#attach-files").set_input_files([PICTURE])
    expect(page.locator(".chip")).to_have_count(1)
    page.get_by_role("link", name="two").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.get_by_role("link", name="one").click()
    expect(page.locator(".chip")).to_have_count(1)


def test_a_large_attachment_that_did_not_survive_a_reload_is_not_sent_without_itself(door, open_page):
    page = open_page("/")
    door.silent = True
    page.locator("#attach-files").set_input_files([{**TEXT, "buffer": b"x" * 1_200_000}])
    field(page).fill("Read this")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.keyboard.press("Enter")
    door.wait(lambda: door.actions("chat"))
    page.reload()
    expect(page.locator(".pending")).to_contain_text("What was attached did not survive the reload.")
    expect(page.locator(".pending .words")).to_have_text("Read this")
    assert len(door.actions("chat")) == 1


# --- titles --------------------------------------------------------------------------------------------------------


def test_a_title_changes_everywhere_when_it_is_given(door, open_page):
    door.answered(C, "how do I get to basel", "By train.")
    page = open_page(f"/#/c/{C}")
    expect(page.get_by_role("heading", level=1)).to_have_text("how do I get to basel")
    door.append(upkeep.conversation_changed(C, {"title": "The way to Basel", "title_by": "model"}))
    expect(page.get_by_role("heading", level=1)).to_have_text("The way to Basel")
    expect(page).to_have_title("The way to Basel · Tom")
    expect(page.get_by_role("navigation").get_by_role("link", name="The way to Basel")).to_be_visible()
    other = open_page("/#/new")
    door.append(upkeep.conversation_changed(C, {"title": "By train to Basel", "title_by": "person"}))
    expect(other.get_by_role("navigation").get_by_role("link", name="By train to Basel")).to_be_visible()
