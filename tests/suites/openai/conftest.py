"""An agent of its own in a process of its own, for clients that know nothing of Tom; see README.md."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tom.testing.simulated_llm import SimulatedLLM

ROOT = Path(__file__).resolve().parents[3]
LLM = ROOT / ".tools/llm/bin/llm"
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Standing:
    """A standalone agent that serves, and its model."""

    url: str
    llm: SimulatedLLM
    directory: Path

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"

    def get(self, path: str) -> tuple[int, object]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, None
        except (urllib.error.URLError, ConnectionError):
            return 0, None


def settings_of(endpoint: SimulatedLLM, **more: object) -> dict[str, object]:
    entry = {"api": "none", "base_url": endpoint.url, "models": ["compatible/s", "compatible/m", "compatible/l"]}
    service = {"context": {"max_tokens": 32000}, "titles": False}
    return {
        "global": {"llm": "simulated", "llms": {"simulated": entry | {"timeout": 5, "max_tokens": 1000}}},
        "chat": {"service": service},
        **more,
    }


@pytest.fixture
def agent(tmp_path, free_port):
    """``agent(**settings)`` starts one and returns it; all are ended with the test."""
    started = []

    def start(rates=100_000, services=None, **settings):
        directory = tmp_path / f"data{len(started)}"
        directory.mkdir(mode=0o700)
        endpoint = SimulatedLLM()
        endpoint.start()
        (directory / "config.yml").write_text(json.dumps(settings_of(endpoint, services=services or {}, **settings)))
        (directory / "config.yml").chmod(0o600)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = kept | {"HOME": str(tmp_path), "RATE_RPS": str(rates), "RATE_BURST": str(rates)}
        with (directory / "output.log").open("wb") as output:
            command = [sys.executable, "-m", "tom.cli.main", "agent", "--standalone", "--data", str(directory)]
            child = subprocess.Popen(
                [*command, "--port", str(free_port)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=tmp_path, env=environment,
            )  # fmt: skip
        started.append((child, endpoint))
        standing = Standing(f"http://127.0.0.1:{free_port}", endpoint, directory)
        until = time.monotonic() + START_SECONDS
        while standing.get("/health/ready")[0] != 200:
            if child.poll() is not None or time.monotonic() > until:
                pytest.fail((directory / "output.log").read_text()[-3000:])
            time.sleep(0.02)  # the bound of a wait for another process
        return standing

    yield start
    for child, endpoint in started:
        child.terminate()
        try:
            child.wait(30)
        finally:
            child.kill()
            child.wait()
            endpoint.stop()


@pytest.fixture
def ledger(tmp_path):
    """``ledger(tool_class)``: the service of this project that keeps notes; writing them is of that class."""

    def configured(tool_class="write_own"):
        kept = tmp_path / "ledger"
        kept.mkdir()
        module = ["-m", "tom.testing.ledger_service", str(kept)]
        return {"ledger": {"command": sys.executable, "args": module, "tools": {"classes": {"write_note": tool_class}}}}

    return configured


@pytest.fixture
def llm_program(tmp_path):
    """``llm_program(standing, *words)``: the program ``llm`` with an empty directory of its own; what it prints."""
    subprocess.run([ROOT / "scripts/provision_llm.sh"], check=True, timeout=300)
    home = tmp_path / "llm"
    home.mkdir()

    def run(standing: Standing, *words: str, ok: bool = True) -> str:
        model = {
            "model_id": "tom", "model_name": "tom", "api_base": standing.v1, "vision": True, "supports_tools": True,
            "supports_schema": True,
        }  # fmt: skip
        (home / "extra-openai-models.yaml").write_text(json.dumps([model]))
        environment = {"PATH": os.defpath, "HOME": str(tmp_path), "LLM_USER_PATH": str(home), "LANG": "C.UTF-8"}
        ran = subprocess.run(
            [str(LLM), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (ran.returncode == 0) is ok, ran.stdout + ran.stderr
        return ran.stdout if ok else ran.stderr

    return run
