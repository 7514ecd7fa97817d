"""Asks in a terminal and from scripts: shown whole, answered only by a clear word, waiting is said."""

import json
import subprocess
import sys

import pytest

from tom.cli import asks
from tom.conversation.elicitation import Elicitation
from tom.testing.played_door import PASSWORD

pytestmark = pytest.mark.slow

C = "c-1"
HIDDEN = {"path": "a\u202etxt.exe\u200b", "note": "چای\nline two\x1b[2J"}


@pytest.fixture
def tom(door, environment):
    """``tom("approvals", "list", …)`` runs a command to its end: (status, stdout, stderr)."""

    def run(*arguments, stdin=""):
        command = [sys.executable, "-m", "tom.cli.main", *arguments, "--url", door.url, "--user", "alice"]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment | {"TOM_PASSWORD": PASSWORD},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def waiting(door):
    """``waiting(**more)``: a run in C asks for one call; returns (run, ask)."""

    def ask(arguments=None, **more):
        run = door.ask(C, "tidy up")
        return run, door.wait_for(door.asks.approval(C, run, "a", arguments or {"title": "Milk"}, **more))

    return ask


def ask_id(asked):
    return asked.extra["approval_id"]


# --- tom approvals -------------------------------------------------------------------------------------------------


def test_what_waits_is_listed_and_shown_whole_with_hidden_characters_visible(door, tom, waiting):
    assert tom("approvals", "list") == (0, "", "Nothing waits for you.\n")
    _, asked = waiting(HIDDEN, sources=["web.fetch"])
    status, out, _ = tom("approvals", "list")
    assert status == 0
    assert f"{ask_id(asked)}  " in out
    assert "notes · delete_note (destructive)" in out
    status, out, _ = tom("approvals", "show", ask_id(asked))
    assert status == 0
    assert '"path": "a\\u202etxt.exe\\u200b"' in out
    assert '"note": "چای\\nline two\\u001b[2J"' in out
    assert "\u202e" not in out
    assert "Written after reading: web.fetch" in out
    assert "Why asked: It may destroy something." in out
    assert "Digest 01234567" in out
    status, out, _ = tom("approvals", "list", "--json")
    told = json.loads(out)
    assert [one["approval_id"] for one in told["approvals"]] == [ask_id(asked)]
    assert told["elicitations"] == []


@pytest.mark.promise("P14")
def test_a_script_allows_by_digest_only(door, tom, waiting):
    _, asked = waiting()
    status, out, errors = tom("approvals", "allow", ask_id(asked), stdin="yes\n")
    assert (status, out) == (8, "")
    assert "It still waits" in errors
    assert "--digest 01234567" in errors
    assert tom("approvals", "allow", ask_id(asked), "--yes")[0] == 2
    assert tom("approvals", "allow", ask_id(asked), "--digest", "0123")[0] == 2
    assert tom("approvals", "allow", ask_id(asked), "--digest", "ffffffff")[0] == 6
    assert door.asks.answers == [], "nothing was answered so far"
    status, out, _ = tom("approvals", "allow", ask_id(asked)[:20], "--digest", "sha256:01234567", "--json")
    assert (status, json.loads(out)["decision"]) == (0, "allow")
    ((answered, body),) = door.asks.answers
    assert answered == ask_id(asked)
    assert body == {"decision": "allow", "arguments_digest": "sha256:0123456789abcdef", "remember": "once"}


def test_a_no_takes_a_note_and_needs_no_digest(door, tom, waiting):
    _, asked = waiting()
    status, _, errors = tom("approvals", "deny", ask_id(asked), "--note", "not today")
    assert (status, errors) == (0, "✓ Denied: notes · delete_note (destructive)\n")
    assert door.asks.answers[0][1]["note"] == "not today"


@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        ((409, "already_answered", "This was answered already.", {"outcome": "deny"}), 6, "The answer was: deny."),
        ((409, "arguments_changed", "Look again.", {}), 6, "Look again."),
        ((410, "expired", "Too late.", {}), 6, "Too late."),
        ((404, "approval_not_found", "Unknown.", {}), 5, "Unknown."),
        ((422, "invalid_answer", "Wrong.", {}), 1, "Wrong."),
    ],
)
def test_a_refused_answer_has_its_own_status(door, tom, waiting, refusal, status, words):
    _, asked = waiting()
    door.asks.refusal = refusal
    got, _, errors = tom("approvals", "allow", ask_id(asked), "--digest", "01234567")
    assert got == status
    assert words in errors
    got, out, _ = tom("approvals", "deny", ask_id(asked), "--json")
    assert (got, json.loads(out)["error"]["code"]) == (status, refusal[1])


def test_an_unknown_id_is_5(tom, door):
    assert tom("approvals", "show", "01NOBODY")[0] == 5
    status, out, _ = tom("approvals", "allow", "01NOBODY", "--digest", "01234567", "--json")
    assert (status, json.loads(out)["error"]["code"]) == (5, "approval_not_found")


def test_at_a_terminal_the_exact_arguments_are_shown_and_only_yes_allows(door, screen, waiting):
    _, asked = waiting(HIDDEN)
    command = ("approvals", "allow", ask_id(asked))
    terminal = screen(command=command)
    terminal.see("Allow this once? Type yes:")
    assert "a\\u202etxt.exe\\u200b" in terminal.text
    terminal.type("\r")
    assert terminal.ends() == 8
    assert door.asks.answers == []
    terminal = screen("--remember", "conversation", command=command)
    terminal.see("Allow this tool for the whole conversation? Type yes:")
    terminal.type("yes\r")
    assert terminal.ends() == 0
    assert door.asks.answers[0][1]["remember"] == "conversation"
    assert "arguments" not in door.asks.answers[0][1]


def test_an_edit_that_is_no_json_leaves_it_waiting(door, environment, screen, waiting, tmp_path):
    _, asked = waiting()
    editor = tmp_path / "editor.py"
    editor.write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{')")
    environment["EDITOR"] = f"{sys.executable} {editor}"
    terminal = screen("--edit", command=("approvals", "allow", ask_id(asked)))
    terminal.see("That is no JSON")
    assert terminal.ends() == 8
    editor.write_text('import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(\'{"title": "Tea"}\')')
    terminal = screen("--edit", command=("approvals", "allow", ask_id(asked)))
    terminal.see('"title": "Tea"')
    terminal.type("y\r")
    assert terminal.ends() == 0
    assert door.asks.answers[0][1]["arguments"] == {"title": "Tea"}


# --- tom chat ------------------------------------------------------------------------------------------------------


def test_a_script_whose_run_waits_ends_with_8_and_says_how_to_go_on(door, run):
    process = run("tidy up")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    asked = door.wait_for(door.asks.approval(cid, own, "a", {"title": "Milk"}))
    out, errors = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 8)
    assert "Waits for you: notes · delete_note (destructive)" in errors
    assert f"tom approvals show {ask_id(asked)}" in errors


@pytest.mark.promise("P14")
def test_only_a_clear_word_answers_an_ask_in_the_chat(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("tidy up\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.wait_for(door.asks.approval(cid, own, "a", HIDDEN))
    terminal.see("Allow it?")
    assert "a\\u202etxt.exe\\u200b" in terminal.text
    terminal.type("\r")
    terminal.see("Nothing happens without a clear answer.")
    assert door.asks.answers == []
    terminal.type("n\r")
    terminal.see("A word to Tom about why")
    terminal.type("too much\r")
    terminal.see("✕ Denied on Chrome on Linux")
    assert door.asks.answers[0][1] == {
        "decision": "deny", "arguments_digest": "sha256:0123456789abcdef", "note": "too much",
    }  # fmt: skip
    door.reply(cid, own, "Then not.")
    door.complete(cid, own)
    terminal.see("Then not.")
    terminal.see("› ", 2)


def test_later_leaves_it_waiting_and_it_is_answered_by_command(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("tidy up\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.wait_for(door.asks.approval(cid, own, "a", {"title": "Milk"}))
    terminal.see("Allow it?")
    terminal.type("l\r")
    terminal.see("This conversation waits for your answer: /approvals")
    terminal.see("› ", 2)
    terminal.type("/approvals\r")
    terminal.see("Allow it?", 2)
    terminal.type("y\r")
    terminal.see("✓ Allowed")
    door.reply(cid, own, "Done.")
    door.complete(cid, own)
    terminal.see("Done.")
    assert door.asks.answers[0][1] == {"decision": "allow", "arguments_digest": "sha256:0123456789abcdef"}


def test_an_ask_that_is_answered_elsewhere_meanwhile_says_so(door, screen, waiting):
    run, _ = waiting()
    terminal = screen("--conversation", C)
    terminal.see("Allow it?")
    door.asks.refusal = (409, "already_answered", "This was answered already.", {"outcome": "allow"})
    terminal.type("y\r")
    terminal.see("This was answered already. (already_answered)")
    door.reply(C, run, "All right.")
    door.complete(C, run)
    terminal.see("All right.")


def test_edited_arguments_are_shown_and_asked_for_again(door, environment, screen, tmp_path):
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys; path = pathlib.Path(sys.argv[1]); path.write_text(path.read_text().replace('Milk', 'Tea'))"
    )
    environment["VISUAL"] = f"{sys.executable} {editor}"
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("tidy up\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.wait_for(door.asks.approval(cid, own, "a", {"title": "Milk"}))
    terminal.see("Allow it?")
    terminal.type("e\r")
    terminal.see('"title": "Tea"')
    terminal.type("y\r")
    terminal.see("✓ Allowed")
    assert door.asks.answers[0][1]["arguments"] == {"title": "Tea"}


FORM = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "title": "Day", "enum": ["mon", "tue"]},
        "people": {"type": "integer", "minimum": 1, "maximum": 9},
        "window": {"type": "boolean", "default": False},
        "wish": {"type": "string"},
    },
    "required": ["day", "people"],
}


def test_a_form_is_filled_field_by_field_and_checked(door, screen):
    run = door.ask(C, "book")
    door.wait_for(door.asks.question(C, run, "a", Elicitation("form", "Which day?\x1b[2J", FORM)))
    terminal = screen("--conversation", C)
    terminal.see("The service travel asks (these are its words):")
    terminal.see("d = decline")
    assert "Which day?\\u001b[2J" in terminal.text
    terminal.type("a\r")
    terminal.see("Day (mon, tue): ")
    terminal.type("wed\r")
    terminal.see("One of: mon, tue")
    terminal.type("tue\r")
    terminal.see("people (integer): ")
    terminal.type("12\r")
    terminal.see("From 1 to 9")
    terminal.type("2\r")
    terminal.see("window (boolean) [False] optional: ")
    terminal.type("\r")
    terminal.see("wish (string) optional: ")
    terminal.type("\r")
    terminal.see("✓ Answered")
    assert door.asks.answers[0][1] == {
        "outcome": "accept", "content": {"day": "tue", "people": 2, "window": False},
    }  # fmt: skip


def test_a_form_that_asks_for_a_secret_can_only_be_declined(door, screen):
    form = {"type": "object", "properties": {"password": {"type": "string"}}}
    run = door.ask(C, "book")
    door.wait_for(door.asks.question(C, run, "a", Elicitation("form", "Log in", form)))
    terminal = screen("--conversation", C)
    terminal.see("Secrets are never given in a form")
    terminal.see("d = decline")
    terminal.type("a\r")
    terminal.see("Nothing happens without a clear answer.")
    terminal.type("d\r")
    terminal.see("✓ Declined")
    assert door.asks.answers[0][1] == {"outcome": "decline"}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://bank.example@evil.example:8443/pay?x=1", "evil.example port 8443 over https"),
        (
            "https://b\u0430nk.example/",
            f"b\u0430nk.example (xn--{'b\u0430nk'.encode('punycode').decode()}.example) over https",
        ),
    ],
)
def test_an_address_is_shown_with_its_host(door, screen, address, host):
    run = door.ask(C, "book")
    door.wait_for(door.asks.question(C, run, "a", Elicitation("url", "Pay here", url=address)))
    terminal = screen("--conversation", C)
    terminal.see(f"Host:    {host}")
    terminal.type("o\r")
    terminal.see("✓ Answered")
    assert door.asks.answers[0][1] == {"outcome": "accept"}


def test_prompts_and_resources_are_listed_in_the_chat_and_a_prompt_is_said_as_it_is_typed(door, screen):
    door.asks.prompts = [
        {"service": "docs", "name": "review", "title": "Review", "description": "",
         "arguments": [{"name": "file", "required": True}, {"name": "tone", "required": False}]},
    ]  # fmt: skip
    door.asks.resources = [
        {"service": "docs", "uri": "file:///a.txt", "name": "alpha", "mime_type": "text/plain"},
        {"service": "docs", "uri": "file:///b.txt", "name": "beta", "mime_type": "text/plain"},
    ]
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("/prompts\r")
    terminal.see("/docs:review file=… [tone=…]  Review")
    terminal.type("/resources bet\r")
    terminal.see("docs::file:///b.txt  beta  text/plain")
    assert "alpha" not in terminal.text
    terminal.type("/docs:review file=a.txt\r")
    door.wait_for_message()
    assert door.actions("chat")[0]["payload"]["text"] == "/docs:review file=a.txt"


def test_progress_of_a_call_is_one_line_that_is_replaced(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("copy\r")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.progress(cid, own, "a", 50.0, 200.0, "half \x1b]0;x\x07way", tool="copy")
    terminal.see("time · copy  25 %  half ␛]0;x␇way")


# --- what is shown and what is typed -------------------------------------------------------------------------------


def test_every_character_that_cannot_be_seen_is_written_out():
    assert asks.visible("a b\nc") == "a b\nc"
    assert asks.visible("\t\r\0\x7f\u00a0\u200c\u2028\ufeff\U000e0041") == (
        "\\u0009\\u000d\\u0000\\u007f\\u00a0\\u200c\\u2028\\ufeff\\U000e0041"
    )
    assert asks.visible("چای é 😀") == "چای é 😀"


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        ("5", {"type": "integer"}, 5),
        ("2.5", {"type": "number"}, 2.5),
        ("yes", {"type": "boolean"}, True),
        ("", {"type": "string", "default": "x"}, "x"),
        ("b", {"oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}, "b"),
        ("a, b", {"type": "array", "items": {"enum": ["a", "b"]}}, ["a", "b"]),
    ],
)
def test_a_typed_field_becomes_a_value_of_its_type(typed, field, value):
    assert asks.read_field(typed, field, required=True) == value


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ("", {"type": "string"}),
        ("five", {"type": "integer"}),
        ("nan", {"type": "number"}),
        ("inf", {"type": "number"}),
        ("perhaps", {"type": "boolean"}),
        ("abc", {"type": "string", "maxLength": 2}),
        ("c", {"enum": ["a", "b"]}),
    ],
)
def test_a_typed_field_that_does_not_fit_is_asked_for_again(typed, field):
    with pytest.raises(asks.Misfit):
        asks.read_field(typed, field, required=True)
