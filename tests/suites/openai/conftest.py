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


@dataclass(slots=True)
class Standing:
    """A standalone agent that serves, and its model."""

    port: int
    llm: SimulatedLLM
    directory: Path
    rates: int
    child: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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

    def start(self) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        rates = {"RATE_RPS": str(self.rates), "RATE_BURST": str(self.rates)}
        command = [sys.executable, "-m", "tom.cli.main", "agent", "--standalone", "--data", str(self.directory)]
        log = self.directory / "output.log"
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [*command, "--port", str(self.port)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self.directory, env=kept | rates | {"HOME": str(self.directory)},
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while self.get("/health/ready")[0] != 200:
            if self.child.poll() is not None or time.monotonic() > until:
                pytest.fail(log.read_text()[-3000:])
            time.sleep(0.02)  # the bound of a wait for another process

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def stop(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(30)
        finally:
            self.kill()


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
        started.append(Standing(free_port, endpoint, directory, rates))
        started[-1].start()
        return started[-1]

    yield start
    for standing in started:
        standing.stop()
        standing.llm.stop()


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
