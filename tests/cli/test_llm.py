"""``tom llm``: list, test, add, detect, as a person and as a script use them."""

import json
import os
import pty
import socket
import sys
import threading
import time

import pytest

from tom.config.settings import Settings
from tom.testing.simulated_llm import Fault, Script, SimulatedLLM

pytestmark = pytest.mark.slow

KEY = "sk-canary-0123456789abcdef"


def ready(request):
    return Script.tool_calls((request.tool_names[0], {"word": "ready"})) if request.tool_names else Script.text("Ready")


@pytest.fixture
def endpoint():
    with SimulatedLLM(otherwise=ready) as simulated:
        yield simulated


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    (path / "config.yml").write_text("# mine\nglobal:\n  llm: scripted  # offline\nusers:\n  - username: alice\n")
    return path


def configured(data, endpoint, **more):
    entry = {
        "api": KEY,
        "models": ["compatible/simulated", "compatible/simulated", "compatible/simulated-large"],
    } | more
    text = {
        "global": {"llm": "house", "llms": {"house": {"base_url": endpoint.url} | entry}},
        "users": [{"username": "alice"}],
    }
    (data / "config.yml").write_text(json.dumps(text))


def test_the_list_names_models_and_never_a_key(tom, data, endpoint):
    configured(data, endpoint)
    done = tom("llm", "list", "--data", str(data))
    assert done.returncode == 0
    assert "house" in done.stdout
    assert "simulated-large" in done.stdout
    listed = json.loads(tom("llm", "list", "--data", str(data), "--json").stdout)
    assert (listed["default"], listed["llms"][0]["has_key"]) == ("house", True)
    assert KEY not in done.stdout + done.stderr + json.dumps(listed)
    assert endpoint.calls == 0, "nobody is asked"


def test_each_level_is_asked_for_eight_tokens_and_one_call(tom, data, endpoint):
    configured(data, endpoint, price={"input": 1, "output": 2}, context_tokens=9000)
    done = tom("llm", "test", "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    (house,) = json.loads(done.stdout)["llms"]
    assert [level["model"] for level in house["levels"]] == ["simulated", "simulated", "simulated-large"]
    for level in house["levels"]:
        assert (level["works"], level["calls_tools"], level["context_tokens"]) == (True, True, 9000)
        assert level["price"] == {"input": 1, "output": 2}
    assert endpoint.calls == 4, "a model of two levels is asked once"
    assert endpoint.requests[0].json["max_tokens"] == 8
    assert len(endpoint.requests[1].tool_names) == 1


@pytest.mark.parametrize(
    ("fault", "word"),
    [("unauthorized", "key"), ("not_found", "model"), ("rate_limited", "credit"), ("bad_sse", "answer")],
)
def test_a_model_that_does_not_answer_is_told_with_what_is_wrong(tom, data, endpoint, fault, word):
    configured(data, endpoint)
    endpoint.otherwise(Script.fault(Fault(fault)))
    done = tom("llm", "test", "house", "--data", str(data), "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["llms"][0]["levels"][0]["problem"] == word
    assert KEY not in done.stdout + done.stderr


def test_nothing_to_test_is_told(tom, data):
    done = tom("llm", "test", "nobody", "--data", str(data))
    assert (done.returncode, done.stdout) == (5, "")
    assert "'nobody'" in done.stderr


def add(tom, data, endpoint, *more, **options):
    return tom("llm", "add", "compatible", "--base-url", endpoint.url, "--data", str(data), *more, **options)


def test_a_key_from_stdin_is_tried_then_kept_out_of_config_yml(tom, data, endpoint):
    done = add(tom, data, endpoint, "--key-stdin", "--models", "simulated", stdin=KEY + "\n")
    assert done.returncode == 0, done.stderr
    assert endpoint.requests[0].headers["authorization"] == f"Bearer {KEY}"
    dotenv = data / ".env"
    assert dotenv.read_text() == f"HOUSE_API_KEY={KEY}\n"
    assert dotenv.stat().st_mode & 0o777 == 0o600
    text = (data / "config.yml").read_text()
    assert "# mine" in text
    assert KEY not in text + done.stdout + done.stderr
    settings = Settings.load(data, env={})
    assert (settings.llm, settings.llms["house"].models) == ("house", ("simulated",) * 3)
    assert settings.llms["house"].key.reveal() == KEY


def test_a_variable_that_is_set_is_used_and_not_stored(tom, data, endpoint):
    done = add(tom, data, endpoint, "--name", "mine", env={"MINE_API_KEY": KEY})
    assert done.returncode == 0, done.stderr
    assert not (data / ".env").exists()
    assert Settings.load(data, env={"MINE_API_KEY": KEY}).llm == "mine"


def test_nothing_is_written_for_a_key_that_is_refused(tom, data, endpoint):
    before = (data / "config.yml").read_text()
    endpoint.otherwise(Script.fault(Fault.UNAUTHORIZED))
    done = add(tom, data, endpoint, "--key-stdin", "--json", stdin=KEY + "\n")
    assert done.returncode == 7
    assert json.loads(done.stdout)["error"]["code"] == "llm_key"
    assert not (data / ".env").exists()
    assert (data / "config.yml").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "tom llm add PROVIDER"),
        (("hal",), "Unknown provider 'hal'"),
        (("compatible",), "--base-url"),
        (("openai",), "set OPENAI_API_KEY, or give it with --key-stdin"),
    ],
)
def test_without_a_terminal_what_is_missing_is_named(tom, data, arguments, said):
    done = tom("llm", "add", *arguments, "--data", str(data))
    assert done.returncode == 2
    assert said in done.stderr


def test_a_key_is_typed_unseen(data, endpoint, environment, tmp_path):
    """On a real terminal."""
    command = [sys.executable, "-m", "tom.cli.main", "llm", "add", "compatible", "--base-url", endpoint.url]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(command[0], [*command, "--models", "simulated", "--data", str(data)], environment)
    shown = b""
    deadline = time.monotonic() + 30
    typed = False
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
        if not typed and b"not shown" in shown:
            typed = True
            os.write(terminal, KEY.encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert KEY.encode() not in shown
    assert KEY in (data / ".env").read_text()


# --- detect


def test_model_servers_are_found_and_others_are_named(tom, data, endpoint):
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        threading.Thread(target=greet, args=(other,), daemon=True).start()
        ports = [endpoint.port, other.getsockname()[1], closed.getsockname()[1]]
        start = time.monotonic()
        done = tom("llm", "detect", *(f"--port={port}" for port in ports), "--data", str(data), "--json")
        assert time.monotonic() - start < 10
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [server["base_url"] for server in found["servers"]] == [endpoint.url]
    assert found["servers"][0]["models"] == ["simulated", "simulated-small", "simulated-large"]
    assert found["others"] == [ports[1]]
    assert endpoint.calls == 0, "nothing but the list was asked for"


def greet(listening):
    connection, _ = listening.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def test_a_found_server_is_tried_and_entered_after_a_yes(tom, data, endpoint):
    done = tom("llm", "detect", f"--port={endpoint.port}", "--yes", "--models", "simulated-small", "--data", str(data))
    assert done.returncode == 0, done.stderr
    settings = Settings.load(data, env={})
    assert (settings.llm, settings.llms["house"].base_url) == ("house", endpoint.url)
    assert settings.llms["house"].models == ("simulated-small",) * 3
    assert "# mine" in (data / "config.yml").read_text()


def test_without_a_yes_nothing_is_written(tom, data, endpoint):
    before = (data / "config.yml").read_text()
    done = tom("llm", "detect", f"--port={endpoint.port}", "--data", str(data))
    assert done.returncode == 0
    assert "with 3 models at" in done.stderr
    assert (data / "config.yml").read_text() == before


def test_nobody_is_there(tom, data):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        done = tom("llm", "detect", f"--port={closed.getsockname()[1]}", "--data", str(data))
    assert done.returncode == 7
    assert "No model server answers" in done.stderr


def test_tom_s_own_port_is_not_asked(tom, data, endpoint):
    (data / "config.yml").write_text(f"global:\n  listen: {{port: {endpoint.port}}}\nusers: [{{username: alice}}]\n")
    done = tom("llm", "detect", f"--port={endpoint.port}", "--data", str(data))
    assert done.returncode == 7
    assert endpoint.connections == 0
