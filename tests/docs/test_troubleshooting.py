"""Each of the five troubles is brought about, shows the message of the page, and goes away by the page's command."""

import re
import socket
import subprocess
import time

import pytest

PAGE = "docs/howto/troubleshooting.md"
SECONDS = 30


@pytest.fixture
def part(repository):
    """``part(title)``: the message and the command below one heading of the page."""
    text = (repository / PAGE).read_text(encoding="utf-8")

    def find(title):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        return re.search(r"^> (.*)$", section, re.MULTILINE)[1], re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1]

    return find


@pytest.fixture
def house(shell):
    """``house(text)``: writes config.yml."""
    shell.data.mkdir(mode=0o700)

    def write(text):
        path = shell.data / "config.yml"
        path.write_text(f"{text}\nusers:\n  - username: alice\n" if "users:" not in text else text)
        path.chmod(0o600)

    return write


def tom(shell, command):
    """Run a command that may fail; its output."""
    text = shell.adapted(command)
    return subprocess.run(
        ["bash", "-c", text], check=False, cwd=shell.root, env=shell.environment, capture_output=True, text=True, timeout=SECONDS
    )  # fmt: skip


def starts(shell, command):
    """Whether the program of a command comes to run; it is ended again."""
    log = shell.data.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {shell.adapted(command).strip()}"], cwd=shell.root, env=shell.environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while "🚀 Tom runs." not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return "🚀 Tom runs." in log.read_text()
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_a_missing_certificate(shell, house, part):
    house("global: {llm: scripted, listen: {host: 127.0.0.1}}")
    message, command = part("The certificate is missing")
    failed = tom(shell, ".venv/bin/tom gateway --data ./data")
    assert failed.returncode == 1
    assert shell.adapted(message) in failed.stderr
    assert starts(shell, command)


def test_a_configuration_that_is_not_understood(shell, house, part):
    message, command = part("The configuration is not understood")
    house("users:\n  - username: alice\n    services:\n      weather: {url: 'http://127.0.0.1:9/mcp', enabel: true}\n")
    failed = tom(shell, ".venv/bin/tom up --data ./data")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert tom(shell, command).returncode == 1
    house((shell.data / "config.yml").read_text().replace("enabel", "enable"))
    assert tom(shell, command).returncode == 0


def test_no_key_for_the_language_model(shell, house, part):
    message, command = part("There is no key for the language model")
    house("global:\n  llm: cloud\n  llms:\n    cloud: {env_var: OPENAI_API_KEY, models: openai/gpt-4.1}")
    assert message in tom(shell, ".venv/bin/tom config check --data ./data").stdout
    mended = tom(shell, command)
    assert "✅ Configured LLM 'cloud'" in mended.stdout, mended


def test_a_service_that_cannot_be_reached(shell, house, part):
    message, command = part("A service cannot be reached")
    service = "services:\n  notes: {command: no-such-program}"
    house(f"global: {{llm: scripted, listen: {{host: 127.0.0.1}}}}\n{service}")
    assert message in tom(shell, command).stdout
    house(f"global: {{llm: scripted, listen: {{host: 127.0.0.1}}}}\n{service.replace('}', ', enable: false}')}")
    mended = tom(shell, command)
    assert message not in mended.stdout, mended


def test_a_port_that_is_taken(shell, house, part, free_port):
    house("global: {llm: scripted, listen: {host: 127.0.0.1}}")
    message, command = part("The port is taken")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        failed = tom(shell, f".venv/bin/tom up --data ./data --port {taken}")
        assert failed.returncode == 1
        assert message.replace("8443", str(taken)) in failed.stderr
        assert starts(shell, command.replace("9443", str(free_port)))
