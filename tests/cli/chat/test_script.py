"""`tom chat` from a script: pipes, JSON lines, logins and exit statuses."""

import json
import re
import subprocess

import pytest

from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.testing.played_door import PASSWORD

pytestmark = pytest.mark.slow

C = "c-1"


def write(process, text):
    """The whole of a command's stdin."""
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None


def test_a_pipe_gets_the_answer_and_nothing_else(door, run):
    process = run("what time is it?")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.reply(cid, own, "Let me look.", calls=[ToolCall("a", "now", "{}")])
    door.call(cid, own, "a", "now", {})
    door.result(cid, own, "a", "14:30")
    door.say(cid, own, "It is **hal", offset=0, turn=1)
    door.reply(cid, own, "It is **half** past two.", turn=1)
    door.complete(cid, own)
    out, errors = process.communicate(timeout=10)
    assert (out, errors, process.returncode) == ("It is **half** past two.\n", "", 0)


def test_a_pipe_may_bring_the_text(door, run):
    process = run(stdin=subprocess.PIPE)
    write(process, "first line\nsecond line\n")
    cid, _ = door.wait_for_message()
    assert door.events[cid][-1].content == "first line\nsecond line\n"


def test_a_failed_run_fails_the_command(door, run):
    process = run("go")
    cid, own = door.wait_for_message()
    door.append(happened.run_failed(cid, run_id=own, usage=Usage(), code="provider_timeout", reason="Too slow."))
    out, errors = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 1)
    assert "Too slow. (provider_timeout)" in errors


def test_a_refused_message_fails_the_command(door, run):
    door.refused_text = "go"
    process = run("go")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "The disk is full." in errors


def test_json_prints_every_frame_as_a_line(door, run):
    process = run("go", "--json")
    cid, own = door.wait_for_message()
    door.start(cid, own)
    door.say(cid, own, "a\nb", offset=0)
    door.reply(cid, own, "a\nb")
    door.complete(cid, own)
    lines = [json.loads(line) for line in process.communicate(timeout=10)[0].splitlines()]
    assert process.returncode == 0
    assert [line["status"] for line in lines if line["status"] in {"accepted", "chunk"}] == ["accepted", "chunk"]
    types = [line["event"]["type"] for line in lines if line["status"] == "event"]
    assert types == ["conversation.opened", "message.received", "run.started", "model.replied", "run.completed"]


def test_a_conversation_is_continued_by_its_id_and_its_past_is_not_printed(door, run):
    door.answered(C, "before", "an old answer")
    process = run("go", "--conversation", C)
    door.wait(lambda: door.actions("chat"))
    cid, own = door.wait_for_message()
    assert cid == C
    door.start(C, own)
    door.reply(C, own, "a new answer")
    door.complete(C, own)
    assert process.communicate(timeout=10)[0] == "a new answer\n"


def test_conversations_are_listed(door, run):
    door.answered(C, "About \x1b[31mtrains\x07", "They run.")
    out, _ = run("--list").communicate(timeout=10)
    assert re.search(r"c-1 +idle +\d{4}-\d\d-\d\d \d\d:\d\d +About ␛\[31mtrains␇\n", out)
    listed = json.loads(run("--list", "--json").communicate(timeout=10)[0])
    assert [session["id"] for session in listed["sessions"]] == [C]


def test_a_login_is_kept_for_the_next_time_and_for_its_owner_only(door, run, tmp_path):
    run("--list").communicate(timeout=10)
    path = tmp_path / "tom" / "logins.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(path.read_text()) == {door.url: {"user": "alice", "cookie": "tom_login=played"}}
    process = run("--list", password=None)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_an_ended_login_is_forgotten_and_asked_for_again(door, run):
    run("--list").communicate(timeout=10)
    door.logged_in = False
    process = run("--list", password=None)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 4
    assert "Not logged in" in errors
    process = run("--list")
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_the_password_may_come_from_stdin(door, run):
    process = run("--password-stdin", password=None, stdin=subprocess.PIPE)
    write(process, f"{PASSWORD}\nthe text\n")
    cid, _ = door.wait_for_message()
    assert door.events[cid][-1].content == "the text\n"


def test_a_login_that_ends_meanwhile_ends_the_command(door, run):
    process = run("go")
    door.wait_for_message()
    door.logged_in = False
    door.cut(4401)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 4
    assert "The login has ended" in errors


@pytest.mark.parametrize(
    ("arguments", "given", "status", "words"),
    [
        (["go"], {"password": "wrong"}, 4, "Invalid credentials"),
        (["go"], {"password": None}, 4, "Not logged in at"),
        (["go"], {"url": "https://127.0.0.1:1"}, 1, "cannot be reached: Connection refused"),
        (["go"], {"url": "http://tom.example"}, 2, "https only"),
        (["go"], {"url": "ftp://tom.example"}, 2, "no address"),
        (["go"], {"url": "https://a@tom.example"}, 2, "no address"),
        (["go"], {"url": "https://tom.example:99999"}, 2, "no address"),
        (["go", "--ca", "/nowhere/cert.pem"], {"url": "https://127.0.0.1:1"}, 1, "/nowhere/cert.pem cannot be read"),
        (["go", "--new", "--conversation", "x"], {}, 2, "exclude each other"),
        (["  "], {}, 2, "nothing to say"),
        (["go", "--nonsense"], {}, 2, "--nonsense"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(door, run, arguments, given, status, words):
    process = run(*arguments, **given)
    out, errors = process.communicate(timeout=10)
    assert words in errors
    assert process.returncode == status
    assert out == ""
    assert "Traceback" not in errors


def test_with_json_a_refusal_is_a_line_too(door, run):
    process = run("go", "--json", password="wrong")
    out, _ = process.communicate(timeout=10)
    assert json.loads(out) == {"error": {"code": "invalid_credentials", "message": "Invalid credentials"}}
    assert process.returncode == 4
