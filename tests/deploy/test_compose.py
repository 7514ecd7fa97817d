"""deploy/chat.compose.yml on a real engine: built, brought up, talked to, restarted, taken down."""

import http.client
import json
import os
import shutil
import socket
import time

import pytest

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

WAIT_SECONDS = 60
HELD = ("api", "redis", "catalogue")


class Deployed:
    """The compose file with the tests' own images, port and project name."""

    def __init__(self, engine, repository, variables):
        self.engine = engine
        self.port = int(variables["CHAT_PORT"])
        self._variables = variables
        program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        self._command = [*program, "-p", f"tomtest{os.getpid()}", "-f", str(repository / "deploy/chat.compose.yml")]

    def compose(self, *words, check=True):
        return self.engine.run(*self._command, "--profile", "mcp", *words, check=check, **self._variables)

    def ask(self, method, path, body=None):
        """Status and JSON of one request, as the person at this machine makes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def until(self, condition, what):
        """Wait for a condition, trying again what fails to connect."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.1)
        pytest.fail(f"not within {WAIT_SECONDS} s: {what}\n{self.compose('logs', '--no-color', check=False)[-4000:]}")

    def healthy(self):
        self.until(lambda: self.ask("GET", "/health/ready")[0] == 200, "the API is ready")


@pytest.fixture(scope="module")
def deployed(engine, images, repository):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = images | {
        "CHAT_PORT": port,
        "DEFAULT_PROVIDER": "scripted",
        "MCP_SERVER_URL": "http://catalogue:8010/mcp",
    }
    running = Deployed(engine, repository, variables)
    try:
        running.compose("build")
        running.compose("up", "-d")
        running.healthy()
        yield running
    finally:
        running.compose("down", "-v", check=False)


@pytest.fixture(scope="module")
def session(deployed):
    status, made = deployed.ask("POST", "/sessions", {"metadata": {"order": 7}})
    assert status == 201
    status, answer = deployed.ask("POST", f"/sessions/{made['id']}/messages", {"content": "Good morning"})
    if status != 200:
        pytest.fail(f"{answer}\n{deployed.compose('logs', '--no-color', 'api', check=False)[-4000:]}")
    assert answer["message"]["content"]
    return made["id"]


def test_it_answers_on_loopback_and_nowhere_else(deployed):
    assert deployed.ask("GET", "/health")[1]["status"] == "ok"
    ports = deployed.engine.run("docker", "port", deployed.compose("ps", "-q", "api").strip())
    assert ports.strip() == f"8000/tcp -> 127.0.0.1:{deployed.port}"


def test_nothing_runs_as_root_or_writes_into_its_image(deployed):
    for service in ("api", "catalogue"):
        container = deployed.compose("ps", "-q", service).strip()
        (told,) = json.loads(deployed.engine.run("docker", "inspect", container))
        assert (told["Config"]["User"], told["HostConfig"]["ReadonlyRootfs"]) == ("10001:10001", True)
        assert told["HostConfig"]["CapDrop"] == ["ALL"]


def test_redis_holds_what_the_session_remembers(deployed, session):
    def held():
        keys = deployed.compose("exec", "-T", "redis", "redis-cli", "--raw", "KEYS", "chat_memory:history:*")
        return session in keys

    deployed.until(held, "Redis has the session's memory")


def test_the_service_of_the_profile_is_reached(deployed):
    def listed():
        status, told = deployed.ask("GET", "/prompts")
        return status == 200 and [prompt for prompt in told["prompts"] if prompt["service"] == "legacy"]

    deployed.until(listed, "the catalogue's prompts are listed")


def test_a_restart_keeps_the_conversation(deployed, session):
    deployed.compose("restart", "api")
    deployed.healthy()
    status, found = deployed.ask("GET", f"/sessions/{session}")
    assert (status, found["metadata"]) == (200, {"order": 7})
    assert [entry["role"] for entry in found["history"]] == ["user", "assistant"]


def test_new_containers_find_what_the_old_ones_kept(deployed, session):
    deployed.compose("down")
    deployed.compose("up", "-d")
    deployed.healthy()
    assert deployed.ask("GET", f"/sessions/{session}")[0] == 200
    assert session in deployed.compose("exec", "-T", "redis", "redis-cli", "--raw", "KEYS", "chat_memory:*")


def test_without_the_profile_there_are_the_api_and_redis(deployed, repository):
    command = deployed._command
    named = deployed.engine.run(*command, "config", "--services", **deployed._variables).split()
    assert sorted(name for name in named if name != "catalogue") == ["api", "redis"]
    volumes = deployed.engine.run(*command, "config", "--volumes", **deployed._variables).split()
    assert sorted(volumes) == ["chat-data", "redis-data"]
