"""examples/basic_session.py as people run it: against a real agent, with wrong settings, and when the API fails."""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SECONDS = 30
NOBODY = "http://127.0.0.1:9"
SESSION = "0123456789"


@pytest.fixture
def run(repository):
    """``run(NAME=text)``: the example to its end."""

    def example(**variables):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-W", "error", str(repository / "examples/basic_session.py")],
            env=kept | variables, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    return example


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """An agent that runs alone, and its address."""
    folder: Path = tmp_path_factory.mktemp("agent")
    unhurried = {"RATE_RPS": "100000", "RATE_BURST": "100000", "DEFAULT_PROVIDER": "scripted"}
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [
        sys.executable,
        "-m",
        "tom.cli.main",
        "agent",
        "--standalone",
        "--port",
        "0",
        "--data",
        str(folder / "data"),
    ]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env=kept | unhurried | {"HOME": str(folder)}
        )
    try:
        yield _address(process, folder / "output")
    finally:
        process.terminate()
        process.wait(SECONDS)


def _address(process, output: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        text = output.read_text()
        if "ws://localhost:" in text:
            return "http://localhost:" + text.partition("ws://localhost:")[2].partition("/")[0]
        time.sleep(0.02)
    pytest.fail(f"the agent did not start: {output.read_text()}")


def listed(address: str) -> list:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=SECONDS)
    connection.request("GET", "/sessions")
    try:
        return json.loads(connection.getresponse().read())["sessions"]
    finally:
        connection.close()


def test_it_sends_prints_the_reply_and_the_usage_and_deletes(run, agent):
    done = run(CHAT_API_URL=agent + "/", CHAT_USER_MESSAGE="Good morning")
    assert (done.returncode, done.stderr) == (0, "")
    reply, usage = done.stdout.rstrip().rsplit("\n", 1)
    assert reply
    assert json.loads(usage.removeprefix("Usage: "))["total_tokens"] > 0
    assert listed(agent) == []


def test_everything_that_can_be_set_is_sent(run, agent):
    done = run(
        CHAT_API_URL=agent, CHAT_MEMORY_LIMIT="4", CHAT_MESSAGE_MEMORY_LIMIT=" 2 ", CHAT_REQUEST_TIMEOUT="12.5",
        CHAT_SESSION_METADATA='{"order": 7}', CHAT_MESSAGE_OPTIONS='{"temperature": 0}', CHAT_MESSAGE_ROLE="user",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_api_refuses_is_told_with_its_request(run, agent):
    done = run(CHAT_API_URL=agent, CHAT_MESSAGE_OPTIONS='{"temprature": 0}')
    assert done.returncode == 1
    assert "422 validation_error" in done.stderr
    assert "(request " in done.stderr
    assert listed(agent) == []


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("CHAT_MEMORY_LIMIT", "ten", "CHAT_MEMORY_LIMIT must be an integer"),
        ("CHAT_MEMORY_LIMIT", "2.5", "CHAT_MEMORY_LIMIT must be an integer"),
        ("CHAT_MESSAGE_MEMORY_LIMIT", "x", "CHAT_MESSAGE_MEMORY_LIMIT must be an integer"),
        ("CHAT_SESSION_METADATA", "{", "CHAT_SESSION_METADATA must be valid JSON"),
        ("CHAT_SESSION_METADATA", "[1]", "CHAT_SESSION_METADATA must decode to a JSON object"),
        ("CHAT_MESSAGE_OPTIONS", "level=1", "CHAT_MESSAGE_OPTIONS must be valid JSON"),
        ("CHAT_MESSAGE_OPTIONS", '{"a": NaN}', "CHAT_MESSAGE_OPTIONS must be valid JSON"),
        ("CHAT_MESSAGE_OPTIONS", '"level"', "CHAT_MESSAGE_OPTIONS must decode to a JSON object"),
        ("CHAT_REQUEST_TIMEOUT", "soon", "CHAT_REQUEST_TIMEOUT must be numeric"),
        ("CHAT_REQUEST_TIMEOUT", "nan", "CHAT_REQUEST_TIMEOUT must be numeric"),
        ("CHAT_REQUEST_TIMEOUT", "0", "CHAT_REQUEST_TIMEOUT must be greater than 0"),
        ("CHAT_API_URL", "localhost:8000", "CHAT_API_URL must be an http or https URL"),
        ("CHAT_API_TOKEN", "tom_\n1", "CHAT_API_TOKEN must be one line of ASCII"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_sent(run, played, name, text, sentence):
    done = run(**{"CHAT_API_URL": played.url, name: text})
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence + "\n")
    assert played.asked == []


def test_all_that_is_wrong_is_told_at_once(run):
    done = run(CHAT_MEMORY_LIMIT="x", CHAT_REQUEST_TIMEOUT="x", CHAT_MESSAGE_OPTIONS="x")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 3)


def test_nobody_there_is_a_failure_of_the_api(run):
    done = run(CHAT_API_URL=NOBODY)
    assert done.returncode == 1
    assert done.stderr.startswith(f"POST /sessions: no answer from {NOBODY}")


# --- an API that plays its part --------------------------------------------------------------------------------------


class Played(http.server.ThreadingHTTPServer):
    """Answers as ``answers`` say, by method, and remembers what was asked."""

    daemon_threads = True

    def __init__(self):
        self.asked: list[tuple[str, str, str | None]] = []
        self.answers = {"create": (201, {"id": SESSION}), "message": (200, {}), "DELETE": (204, None)}
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("message" if "messages" in self.path else "create")

    def do_DELETE(self):
        self._answer("DELETE")

    def _answer(self, which):
        self.server.asked.append((self.command, self.path, self.headers["Authorization"]))
        status, body = self.server.answers[which]
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def played():
    with Played() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(SECONDS)


def test_the_session_is_deleted_after_a_failure_too(run, played):
    played.answers["message"] = 502, {"error": {"code": "provider_error", "message": "It failed."}, "request_id": "r1"}
    played.answers["DELETE"] = 404, {"error": {"code": "session_not_found", "message": "No."}, "request_id": "r2"}
    done = run(CHAT_API_URL=played.url, CHAT_API_TOKEN="tom_1")
    assert [(method, path) for method, path, _ in played.asked] == [
        ("POST", "/sessions"),
        ("POST", f"/sessions/{SESSION}/messages"),
        ("DELETE", f"/sessions/{SESSION}"),
    ]
    assert {token for _, _, token in played.asked} == {"Bearer tom_1"}
    assert done.returncode == 1
    assert done.stderr == f"POST /sessions/{SESSION}/messages: 502 provider_error: It failed. (request r1)\n"


def test_a_session_that_cannot_be_deleted_is_a_failure(run, played):
    played.answers["message"] = 200, {"message": {"content": "Hello."}, "usage": {}}
    played.answers["DELETE"] = 429, {"error": "rate_limited", "retry_after": 2.0}
    done = run(CHAT_API_URL=played.url)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "Hello.")
    assert done.stderr == f"DELETE /sessions/{SESSION}: 429 rate_limited, try again in 2.0 s\n"


def test_a_run_that_waits_for_a_person_is_told(run, played):
    played.answers["message"] = 202, {"run_id": "01R", "status": "waiting"}
    done = run(CHAT_API_URL=played.url)
    assert (done.returncode, done.stdout) == (0, "No reply yet: the run 01R is waiting.\n")


@pytest.mark.parametrize("body", [[1], {"no": "id"}])
def test_an_answer_of_another_kind_is_a_failure(run, played, body):
    played.answers["create"] = 201, body
    done = run(CHAT_API_URL=played.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(played.asked) == 1
