"""How records get out: never blocking, in order, through forks, into files."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from tom.telemetry import logs
from tom.telemetry.writer import LIMIT

log = logs.get("pool")


class Stuck:
    """A stderr that takes nothing until it is released."""

    def __init__(self):
        self.release = threading.Event()
        self.reached = threading.Event()
        self.text = ""

    def write(self, text):
        self.reached.set()
        self.release.wait(30)
        self.text += text

    def flush(self):
        pass


def test_a_blocked_outlet_blocks_nobody_and_the_oldest_small_ones_go(configured, monkeypatch):
    configured()
    stuck = Stuck()
    monkeypatch.setattr("sys.stderr", stuck)
    log.info("first")
    assert stuck.reached.wait(10)
    log.error("kept")
    started = time.monotonic()
    for number in range(LIMIT + 500):
        log.info(f"n{number}")
    assert time.monotonic() - started < 10
    stuck.release.set()
    assert logs.flush(20)
    lines = stuck.text.splitlines()
    assert "⚠️ 501 log records were dropped" in lines[1]
    assert lines[2].endswith("| kept")
    assert lines[3].endswith("| n501")
    assert lines[-1].endswith(f"| n{LIMIT + 499}")
    assert len(lines) == 2 + LIMIT


def test_records_of_many_threads_are_whole_and_each_in_its_order(configured):
    arrived = configured()

    def talk(name):
        for number in range(200):
            log.info(f"{name} {number}")

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    said = [line.split(" | ")[4].split(" ") for line in arrived.lines()]
    for name in "abcd":
        assert [int(number) for who, number in said if who == name] == list(range(200))


@pytest.mark.anyio
async def test_what_is_bound_stays_in_its_task(configured):
    arrived = configured()
    both = asyncio.Barrier(2)

    async def work(user):
        with logs.bind(user=user):
            await both.wait()
            log.info(f"of {user}")

    async with asyncio.TaskGroup() as group:
        group.create_task(work("alice"))
        group.create_task(work("bob"))
    log.info("of system")
    for line in arrived.lines():
        assert line.split(" | ")[2].strip() == line.rsplit(" ", 1)[1]


def test_libraries_speak_through_the_same_lines(configured):
    arrived = configured(level="DEBUG")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("mcp.client").warning("odd %s", "answer")
    logging.getLogger("aiohttp.access").debug("never")
    logging.getLogger("asyncio").error("slow %d", 4)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/x?token=abc", "1.1", 200)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("mcp.server").exception("failed")
    columns = [[part.strip() for part in line.split(" | ")][1:] for line in arrived.lines()]
    assert columns[:4] == [
        ["DEBUG", "system", "uvicorn", "Started server process [7]"],
        ["WARNING", "system", "mcp", "odd answer"],
        ["ERROR", "system", "asyncio", "slow 4"],
        ["DEBUG", "system", "access", '1.2.3.4:5 - "GET /x HTTP/1.1" 200'],
    ]
    assert columns[4][3].startswith("failed: ValueError: why at test_writing.py:")


def test_libraries_are_quiet_by_default(configured):
    arrived = configured()
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("mcp").warning("odd")
    assert [line.rsplit(" | ", 1)[1] for line in arrived.lines()] == ["odd"]


def names():
    return [thread.name for thread in threading.enumerate()]


def test_no_thread_before_the_first_record_and_none_after_shutdown(configured):
    arrived = configured()
    logs.shutdown()
    assert "tom-logs" not in names()
    log.info("x")
    assert len(arrived.lines()) == 1
    assert "tom-logs" in names()
    logs.shutdown()
    assert "tom-logs" not in names()


def test_a_process_that_forks_can_log_without_a_thread(configured):
    arrived = configured(threaded=False)
    log.info("x")
    assert arrived.getvalue().count("\n") == 1
    assert "tom-logs" not in names()


def test_nothing_is_lost_at_a_plain_end_and_after_a_fork():
    script = """
import os
from tom.config.agent import LogSettings
from tom.telemetry import logs
log = logs.get("zygote")
logs.configure(LogSettings(), threaded=False)
log.info("before")
pid = os.fork()
if pid == 0:
    logs.configure(LogSettings(), user="alice")
    log.info("child")
    logs.shutdown()
    os._exit(0)
os.waitpid(pid, 0)
logs.configure(LogSettings())
log.info("after")
pid = os.fork()  # with a thread of ours: not what Tom does, but nothing may hang
if pid == 0:
    log.info("second child")
    logs.shutdown()
    os._exit(0)
os.waitpid(pid, 0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    said = sorted((line.split(" | ")[2].strip(), line.split(" | ")[4]) for line in done.stderr.splitlines())
    assert said == [("alice", "child"), ("system", "after"), ("system", "before"), ("system", "second child")]


def test_a_signal_in_the_middle_of_a_record_does_not_deadlock():
    script = """
import signal, threading, time
from tom.telemetry import logs
log = logs.get("x")
signal.signal(signal.SIGALRM, lambda *_: log.warning("signal"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for n in range(3000):
    log.info("n")
signal.setitimer(signal.ITIMER_REAL, 0)
assert logs.flush(20)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert sum(line.endswith("| n") for line in done.stderr.splitlines()) == 3000


def test_the_file_is_private_and_starts_anew_when_it_has_grown(configured, tmp_path):
    path = tmp_path / "tom.log"
    path.write_text("older\n")
    path.chmod(0o644)
    arrived = configured(file=str(path), max_mb=1, keep=2)
    for number in range(700):
        log.info(f"{number:04d} " + "x" * 5000)
        if number % 100 == 0:
            logs.flush(10)
    assert len(arrived.lines()) == 700
    logs.shutdown()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["tom.log", "tom.log.1", "tom.log.2"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.read_text().rstrip().splitlines()[-1].split(" | ")[4].startswith("0699 ")
    newest_of_older = (tmp_path / "tom.log.1").read_text().splitlines()[-1].split(" | ")[4][:4]
    assert int(newest_of_older) + 1 == int(path.read_text().splitlines()[0].split(" | ")[4][:4])


def test_a_link_is_not_followed_and_the_old_outlet_stays(configured, tmp_path):
    arrived = configured()
    (tmp_path / "target").write_text("")
    (tmp_path / "tom.log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        configured(file=str(tmp_path / "tom.log"))
    log.info("still")
    assert len(arrived.lines()) == 1


def test_an_outlet_that_fails_ends_nothing(configured, monkeypatch):
    configured()

    class Broken:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Broken())
    log.info("x")
    assert logs.flush(10)
    log.info("y")
    assert logs.flush(10)


def test_importing_it_brings_nothing_heavy():
    heavy = {"asyncio", "pydantic", "rich", "typer", "starlette", "aiohttp", "apsw", "mcp", "zoneinfo"}
    script = "import sys; import tom.telemetry.logs; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not heavy & set(found.stdout.split())


def test_logging_costs_little(configured, monkeypatch):
    configured()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        monkeypatch.setattr("sys.stderr", nowhere)
        started = time.process_time()
        for _ in range(2000):
            log.info("📤 answered", event="request_completed", status_code=200, duration_ms=1.5)
        assert (time.process_time() - started) / 2000 < 0.0005  # 0.00001 on an idle machine
        assert logs.flush(10)
