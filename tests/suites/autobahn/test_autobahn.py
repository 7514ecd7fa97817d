"""Autobahn's cases against the WebSocket stack that people talk to."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.trust

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WSTEST = ROOT / ".tools/autobahn/python/bin/wstest"
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.*", "9.2.*", "9.3.*", "9.4.*", "10.*"]
COMPRESSED = ["12.1.1", "13.1.1"]
SECONDS = 1500


@pytest.fixture(scope="module")
def wstest():
    subprocess.run([ROOT / "scripts/provision_autobahn.sh"], check=True, timeout=600)
    return WSTEST


@pytest.fixture
def echo(free_port):
    child = subprocess.Popen([sys.executable, HERE / "echo.py", str(free_port)])
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=1):
                break
        except OSError:
            assert child.poll() is None
            assert time.monotonic() < deadline
    yield f"ws://127.0.0.1:{free_port}"
    child.terminate()
    child.wait(20)


def verdicts(wstest, url, cases, folder):
    """Case -> what Autobahn says of its behaviour and of its close."""
    spec = {
        "outdir": str(folder / "report"),
        "servers": [{"agent": "tom", "url": url, "options": {"version": 18}}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [wstest, "-m", "fuzzingclient", "-s", folder / "spec.json"]
    subprocess.run(command, check=True, timeout=SECONDS, cwd=folder, capture_output=True)
    found = json.loads((folder / "report" / "index.json").read_text())["tom"]
    return {case: (entry["behavior"], entry["behaviorClose"]) for case, entry in found.items()}


@pytest.mark.promise("P23")
@pytest.mark.timeout(SECONDS + 60)
def test_no_case_of_autobahn_fails(wstest, echo, tmp_path):
    found = verdicts(wstest, echo, CASES, tmp_path)
    assert len(found) > 240
    assert {case: said for case, said in found.items() if set(said) - GOOD} == {}


def test_compression_is_not_offered(wstest, echo, tmp_path):
    found = verdicts(wstest, echo, COMPRESSED, tmp_path)
    assert {said for said, _ in found.values()} == {"UNIMPLEMENTED"}
