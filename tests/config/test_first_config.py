"""The first config.yml: which model it selects, for whom, and that it is valid as it stands."""

import http.server
import json
import threading
import time

import pytest

from tom.config.init import adopt, first_user, write_first_config
from tom.config.providers import KNOWN
from tom.config.secret import Secret
from tom.config.settings import ConfigInvalid, Settings
from tom.config.vendors import ask_all, choose_models, list_models

KEYS = {"OPENAI_API_KEY": "sk-canary-1", "GROQ_API_KEY": "gsk-canary-2"}


def nobody(provider, base_url, key):
    return None


def test_without_any_key_it_is_the_scripted_model(tmp_path):
    written = write_first_config(tmp_path / "data", {}, "alice", ask=nobody)
    settings = Settings.load(tmp_path / "data", env={})
    assert (written.user, written.llm, settings.llm) == ("alice", "scripted", "scripted")
    assert [(user.username, user.role) for user in settings.users] == [("alice", "admin")]
    assert (settings.listen.host, settings.chat.context_max_tokens) == ("127.0.0.1", 32000)
    assert settings.warnings == ()


def test_only_its_owner_can_read_it(tmp_path):
    written = write_first_config(tmp_path / "data", {}, "alice", ask=nobody)
    assert written.path.stat().st_mode & 0o777 == 0o600
    assert written.path.parent.stat().st_mode & 0o777 == 0o700


def test_an_existing_file_is_not_touched(write):
    data = write("login: {}")
    with pytest.raises(FileExistsError):
        write_first_config(data, {}, "alice", ask=nobody)
    assert (data / "config.yml").read_text() == "login: {}"
    assert [path.name for path in data.iterdir()] == ["config.yml"]


def test_a_key_selects_its_provider_and_does_not_stand_in_the_file(tmp_path):
    env = {"GROQ_API_KEY": "gsk-canary-2"}
    written = write_first_config(tmp_path, env, "alice", ask=nobody)
    settings = Settings.load(tmp_path, env=env)
    assert (written.llm, settings.llm) == ("groq", "groq")
    assert settings.llms["groq"].models == ("llama-3.3-70b-versatile",) * 3
    assert "canary" not in written.path.read_text()


def test_a_key_in_dotenv_counts_and_a_placeholder_does_not(tmp_path):
    (tmp_path / ".env").write_text("MISTRAL_API_KEY=canary\nOPENAI_API_KEY=sk-proj-...\n")
    assert write_first_config(tmp_path, {}, "alice", ask=nobody).llm == "mistral"
    assert set(Settings.load(tmp_path, env={}).llms) == {"mistral"}


def test_of_several_the_first_that_answers_is_the_default(tmp_path):
    def only_groq(provider, base_url, key):
        return ["llama-3.3-70b-versatile"] if provider.name == "groq" else None

    assert write_first_config(tmp_path / "a", KEYS, "alice", ask=only_groq).llm == "groq"
    assert write_first_config(tmp_path / "b", KEYS, "alice", ask=nobody).llm == "openai"
    assert set(Settings.load(tmp_path / "a", env=KEYS).llms) == {"openai", "groq"}


def test_a_provider_that_hangs_is_not_waited_for():
    release = threading.Event()

    def slow(provider, base_url, key):
        if provider.name == "openai":
            release.wait(30)
        return ["m"]

    started = time.monotonic()
    wanted = [(KNOWN[name], "", Secret("k")) for name in ("openai", "groq")]
    assert ask_all(wanted, slow, timeout=0.2) == {"groq": ["m"]}
    assert time.monotonic() - started < 5
    release.set()


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        ("openai", None, ("gpt-4o-mini", "gpt-4.1", "gpt-4.1")),
        ("openai", ["gpt-4.1", "gpt-4o-mini", "x"], ("gpt-4o-mini", "gpt-4.1", "gpt-4.1")),
        ("openai", ["text-embedding-3", "gpt-9-mini", "gpt-9"], ("gpt-9-mini", "gpt-9-mini", "gpt-9-mini")),
        ("anthropic", ["claude-haiku-9-1", "claude-sonnet-9-1"], ("claude-haiku-9-1",) + ("claude-sonnet-9-1",) * 2),
        ("deepseek", ["whisper", "deepseek-next"], ("deepseek-next",) * 3),
    ],
)
def test_a_model_that_is_no_longer_listed_is_replaced_by_one_that_is(name, listed, expected):
    assert choose_models(KNOWN[name], listed) == expected


@pytest.fixture
def vendor():
    """A vendor's GET /models on a real socket; what it was asked is kept."""
    asked = []

    class Vendor(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            good = "good" in str(self.headers)
            body = json.dumps({"data": [{"id": "models/a"}, {"id": "b"}, {"no": 1}, 7]} if good else {"error": 1})
            self.send_response(200 if good else 401)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_models_are_listed_over_http(vendor):
    url, asked = vendor
    assert list_models(KNOWN["gemini"], url, Secret("good")) == ["a", "b"]
    assert asked[0][0] == "/v1/models"
    assert asked[0][1]["Authorization"] == "Bearer good"
    assert list_models(KNOWN["anthropic"], url, Secret("good")) == ["a", "b"]
    assert asked[1][1]["X-Api-Key"] == "good"
    assert list_models(KNOWN["openai"], url, Secret("bad")) is None


def test_a_service_is_entered_when_its_program_is_there(tmp_path, monkeypatch):
    folder = tmp_path / "a bin"
    folder.mkdir()
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    write_first_config(tmp_path / "without", {}, "alice", ask=nobody)
    assert "time" not in {
        s.name for s in Settings.load(tmp_path / "without", env={}).agent("alice", Secret("")).services
    }
    (folder / "mcp-server-time").write_text("#!/bin/sh\n")
    (folder / "mcp-server-time").chmod(0o755)
    write_first_config(tmp_path / "with", {"PATH": str(folder), "TZ": "Asia/Tehran"}, "alice", ask=nobody)
    (service,) = Settings.load(tmp_path / "with", env={}).agent("alice", Secret("")).services
    assert (service.command, service.args) == (str(folder / "mcp-server-time"), ("--local-timezone", "Asia/Tehran"))


def test_the_first_users_name():
    assert first_user({"USER": "Alice"}) == "alice"
    assert first_user({"USER": "system"}) == "admin"
    assert first_user({"USER": "x"}, "bob") == "bob"
    with pytest.raises(ValueError, match="reserved"):
        first_user({}, "system")


def test_a_key_that_came_later_is_adopted(tmp_path):
    path = write_first_config(tmp_path, {}, "alice", ask=nobody).path
    with pytest.raises(ConfigInvalid, match="GROQ_API_KEY is not set"):
        adopt(path, "groq", {}, ask=nobody)
    with pytest.raises(ConfigInvalid, match="Unknown provider 'hal'"):
        adopt(path, "hal", {}, ask=nobody)
    assert adopt(path, "groq", KEYS, ask=nobody)[0] == "groq/llama-3.3-70b-versatile"
    assert Settings.load(tmp_path, env=KEYS).llm == "groq"
    with pytest.raises(ConfigInvalid, match="'groq' is there already"):
        adopt(path, "groq", KEYS, ask=nobody)
