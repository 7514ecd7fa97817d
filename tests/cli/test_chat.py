"""`tom chat` as people and scripts run it: a process of its own, with pipes or a terminal, against a played house."""

import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tom.conversation import event as happened
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.testing.played_door import PASSWORD, played_door

C = "c-1"
WITH_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'tom.cli.main', 'chat', *sys.argv[1:]])"
)


@pytest.fixture
def door():
    with played_door() as opened:
        yield opened


@pytest.fixture
def environment(tmp_path):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TOM_")}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def run(door, environment):
    """``run(*arguments)`` starts `tom chat` with pipes; it is logged in unless ``password`` says otherwise."""
    started = []

    def start(*arguments, password=PASSWORD, stdin=subprocess.DEVNULL, url=None):
        command = [
            sys.executable,
            "-m",
            "tom.cli.main",
            "chat",
            "--url",
            url or door.url,
            "--user",
            "alice",
            *arguments,
        ]
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | ({"TOM_PASSWORD": password} if password else {}),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Screen:
    """A terminal of 80 × 30 with `tom chat` in it."""

    def __init__(self, url, environment, arguments):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, "--url", url, "--user", "alice", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment | {"TOM_PASSWORD": PASSWORD},
            start_new_session=True,
        )
        os.close(slave)
        self.raw = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def text(self):
        """What was printed, without cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r", "")

    def see(self, text, times=1):
        """Wait, bounded, until ``text`` was printed so often."""
        self.until(lambda: self.text.count(text) >= times, text)

    def until(self, condition, what=""):
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"never saw {what!r} in {self.text!r}")
            self._read()

    def _read(self):
        if select.select([self.master], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                self.raw += self.decoder.decode(os.read(self.master, 65536))

    def type(self, text):
        os.write(self.master, text.encode())

    def ends(self):
        self.until(lambda: self.process.poll() is not None, "the end")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def screen(door, environment):
    opened = []

    def open_(*arguments):
        opened.append(Screen(door.url, environment, arguments))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the house never saw it")
        time.sleep(0.01)


def received(door):
    """The conversation and run of the first message that arrived, once its sender follows it."""
    wait_for(lambda: any(door.listens(cid) for cid in door.events))
    cid = next(cid for cid in door.events if door.listens(cid))
    return cid, next(event.run_id for event in reversed(door.events[cid]) if event.type == "message.received")


def write(process, text):
    """The whole of a command's stdin."""
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None


# --- from a script -----------------------------------------------------------------------------------------------


def test_a_pipe_gets_the_answer_and_nothing_else(door, run):
    process = run("what time is it?")
    cid, own = received(door)
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
    cid, _ = received(door)
    assert door.events[cid][-1].content == "first line\nsecond line\n"


def test_a_failed_run_fails_the_command(door, run):
    process = run("go")
    cid, own = received(door)
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
    cid, own = received(door)
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
    wait_for(lambda: door.actions("chat"))
    cid, own = received(door)
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


# --- nothing lost ------------------------------------------------------------------------------------------------


def test_a_message_without_an_acknowledgement_is_sent_again_under_its_id(door, run):
    door.silent = True
    process = run("hello")
    wait_for(lambda: door.actions("chat"))
    door.silent = False
    door.cut(1012)
    cid, own = received(door)
    door.start(cid, own)
    door.reply(cid, own, "once")
    door.complete(cid, own)
    assert process.communicate(timeout=10)[0] == "once\n"
    first, second = door.actions("chat")
    assert first == second


def test_a_cut_connection_costs_no_word_and_doubles_none(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = received(door)
    door.start(cid, own)
    door.say(cid, own, "first part.\n\nsecond ", offset=0)
    terminal.see("first part.")
    door.closed = True
    door.cut(1011)
    door.say(cid, own, "part.\n\nthird ", offset=20)
    door.closed = False
    wait_for_reading(terminal, lambda: door.listens(cid))
    door.say(cid, own, "part.", offset=34)
    door.reply(cid, own, "first part.\n\nsecond part.\n\nthird part.")
    door.complete(cid, own)
    terminal.see("› ", 2)
    assert "Connected again." in terminal.text
    formed = [line.strip() for line in terminal.text.splitlines() if line.strip().endswith("part.")]
    assert formed[0] == "first part."
    assert formed.count("first part.") == 1
    assert terminal.text.index("first part.") < terminal.text.index("third part.")


def wait_for_reading(terminal, condition):
    terminal.until(condition, "the reconnection")


def test_fragments_that_overlap_or_are_missing_are_mended(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = received(door)
    door.start(cid, own)
    door.say(cid, own, "😀 one two ", offset=0)
    door.say(cid, own, "two three ", offset=6)
    topics = next(iter(door.sockets.values()))
    topics.discard(cid)
    door.say(cid, own, "four ", offset=16)
    topics.add(cid)
    door.say(cid, own, "five", offset=21)
    terminal.see("😀 one two three four five")
    assert len(door.actions("resume")) == 2


def test_another_attempt_is_said_and_what_came_before_does_not_count(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = received(door)
    door.start(cid, own)
    door.say(cid, own, "wrong", offset=0)
    terminal.see("wrong")
    door.restart(cid, own, turn=0, attempt=2)
    terminal.see("Started again (attempt 2)")
    door.reply(cid, own, "right")
    door.complete(cid, own)
    terminal.see("› ", 2)
    assert "right" in terminal.text.split("attempt 2")[1]


def test_a_store_that_numbers_anew_is_read_from_its_beginning(door, screen):
    door.answered(C, "old", "old answer")
    terminal = screen("--conversation", C)
    terminal.see("old answer")
    terminal.see("› ")
    door.events[C] = []
    door.epoch = "epoch-2"
    door.answered(C, "new", "new answer")
    door.cut(1012)
    for turn in range(1, 20):  # what arrives while one types is shown after the next Enter
        terminal.type("/help\r")
        terminal.see("/retry", turn)
        terminal.see("› ", turn + 1)
        if "new answer" in terminal.text:
            break
    assert "numbered anew" in terminal.text


# --- at the terminal ---------------------------------------------------------------------------------------------


def test_the_newest_conversation_is_shown_and_continued(door, screen):
    door.answered("c-old", "old question", "old answer")
    run = door.ask(C, "what time is it?")
    door.reply(C, run, "", calls=[ToolCall("a", "now", "{}"), ToolCall("b", "now", "{}")])
    door.call(C, run, "a", "now", {"zone": "Asia/Tehran"})
    door.result(C, run, "a", "14:30")
    door.call(C, run, "b", "now", {"zone": "nowhere"})
    door.append(happened.tool_unresolved(C, "Who knows.", run_id=run, turn=0, call_id="b", service="time", tool="now"))
    door.reply(C, run, "It is **14:30**.", turn=1)
    door.complete(C, run)
    terminal = screen("--conversation", C)
    terminal.see("It is 14:30.")
    for shown in (
        "› what time is it?",
        '⚙ time · now  {"zone": "Asia/Tehran"}',
        "✓ time · now done · 420 ms  14:30",
        "? time · now may have happened  Who knows.",
    ):
        assert shown in terminal.text
    assert "old question" not in terminal.text


def test_commands_do_what_they_say(door, screen):
    door.answered(C, "first question", "first answer")
    terminal = screen()
    terminal.see("first answer")
    terminal.type("/history\r")
    terminal.see("first answer", 2)
    terminal.type("/stop\r")
    terminal.see("Nothing is going on.")
    terminal.type("/new\r")
    terminal.see("A new conversation.")
    terminal.type("one \\\rtwo\r")
    wait_for_reading(terminal, lambda: door.actions("chat"))
    message = door.actions("chat")[0]["payload"]
    assert message["text"] == "one \ntwo"
    assert message["conversation_id"] != C
    cid, own = received(door)
    door.append(happened.run_failed(cid, run_id=own, usage=Usage(), code="provider_timeout", reason="Too slow."))
    terminal.see("Too slow. (provider_timeout)")
    terminal.see("› ", 5)
    terminal.type("/retry\r")
    wait_for_reading(terminal, lambda: door.actions("retry"))
    assert door.actions("retry")[0]["payload"] == {"conversation_id": cid, "run_id": own}
    again = door.events[cid][-1].run_id
    door.start(cid, again)
    door.reply(cid, again, "better now")
    door.complete(cid, again)
    terminal.see("better now")
    terminal.see("› ", 6)
    terminal.type("/quit\r")
    assert terminal.ends() == 0


def test_ctrl_c_stops_the_answer_and_then_leaves(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    cid, own = received(door)
    door.start(cid, own)
    door.say(cid, own, "never ending", offset=0)
    terminal.see("never ending")
    terminal.type("\x03")
    terminal.see("■ Stopped.")
    assert door.actions("stop")[0]["payload"] == {"conversation_id": cid, "run_id": own}
    terminal.see("› ", 2)
    terminal.type("\x03")
    assert terminal.ends() == 0


def test_a_second_ctrl_c_leaves_what_cannot_be_stopped(door, screen):
    door.silent = True
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("go\r")
    wait_for_reading(terminal, lambda: door.actions("chat"))
    terminal.type("\x03")
    terminal.see("Ctrl+C again leaves.")
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert "tom chat --conversation" in terminal.text


def test_ctrl_d_leaves(door, screen):
    terminal = screen("--new")
    terminal.see("› ")
    terminal.type("\x04")
    assert terminal.ends() == 0


def test_no_text_of_a_model_or_service_moves_the_cursor(door, screen):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31mred \u202etxt"
    run = door.ask(C, evil)
    door.reply(C, run, "", calls=[ToolCall("a", "now", "{}")])
    door.call(C, run, "a", "now", {"zone": evil})
    door.result(C, run, "a", evil, error=True)
    door.reply(C, run, evil, turn=1)
    door.complete(C, run)
    terminal = screen("--conversation", C)
    terminal.see("] ", 0)
    terminal.see("owned", 4)
    for sequence in ("\x1b]0;", "\x07", "\x1b[2J", "\x9b"):
        assert sequence not in terminal.raw
    assert "\\u202etxt" in terminal.text


def test_scripted_answers_are_called_that(door, screen):
    door.answered(C, "hi", "I am a script.", model="scripted")
    terminal = screen("--conversation", C)
    terminal.see("No model is set up. These answers are scripted.")
    terminal.see("I am a script.")


# --- coming in ---------------------------------------------------------------------------------------------------


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
    cid, _ = received(door)
    assert door.events[cid][-1].content == "the text\n"


def test_a_login_that_ends_meanwhile_ends_the_command(door, run):
    process = run("go")
    received(door)
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
