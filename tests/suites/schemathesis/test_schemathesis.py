"""schemathesis against agents that run alone, in mode `token`: see README.md."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tom.openapi.operations import OPERATIONS
from tom.policy.permissions import LOCAL_SCOPES
from tom.testing.alone import Alone

HERE = Path(__file__).parent
SEED = 20261121
ADMIN_TOKEN = "token-of-the-operator"
WORKERS = min(4, os.cpu_count() or 2)
SHARES = 4
"""Operations are dealt out to so many servers, so that their times are alike."""

EXAMPLES, SCENARIOS = 510, 400
UNITS, LINKS = ["examples", "coverage", "fuzzing"], ["stateful"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_cases_and_nothing_undocumented(tmp_path):
    check(tmp_path, 20_000, examples=EXAMPLES, scenarios=SCENARIOS)


@pytest.mark.trust
@pytest.mark.timeout(5400)
def test_a_hundred_thousand_cases_and_nothing_undocumented(tmp_path):
    check(tmp_path, 100_000, examples=2500, scenarios=2600)


def check(tmp_path, wanted, *, examples, scenarios):
    names = [row.name for row in OPERATIONS]
    wishes = [{"operations": names[share::SHARES], "phases": UNITS, "examples": examples} for share in range(SHARES)]
    wishes += [{"operations": names, "phases": LINKS, "examples": scenarios} for _ in range(2)]
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(lambda each: share(tmp_path / str(each[0]), each[0], each[1]), enumerate(wishes)))
    codes = sum((Counter(outcome["codes"]) for outcome in outcomes), Counter())
    answered = sum(outcome["answered"] for outcome in outcomes)
    print(f"{answered} cases: {dict(sorted(codes.items()))}")
    wrong = [told(one) for outcome in outcomes for one in outcome["wrong"]]
    errors = [error for outcome in outcomes for error in outcome["errors"]]
    assert not wrong, "\n".join(wrong)
    assert not errors, "\n".join(errors)
    assert not [code for code in codes if int(code) >= 500]
    assert answered >= wanted
    assert sum(outcome["streams"] for outcome in outcomes) > wanted / 1000, "hardly anything was streamed"
    assert sum(outcome["retries"] for outcome in outcomes) > wanted / 1000, "hardly a retry had a body"
    assert codes["200"] + codes["201"] + codes["202"] + codes["204"] > answered / 10, "hardly anything succeeded"


def share(directory, number, wish):
    """One server, and the cases of one process against it."""
    directory.mkdir()
    environment = {"ADMIN_TOKEN": ADMIN_TOKEN, "CHAT_AUTH": "token", "HOME": str(directory)}
    with Alone(directory / "data", {"global": {"llm": "scripted"}}, environment) as agent:
        headers = {"Authorization": f"Bearer {token(agent)}", "X-Admin-Token": ADMIN_TOKEN}
        whole = {"url": agent.url, "headers": headers, "seed": SEED + number, **wish}
        done = subprocess.run(
            [sys.executable, str(HERE / "shard.py"), json.dumps(whole)],
            capture_output=True,
            text=True,
            timeout=5000,
            cwd=directory,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        outcome = json.loads(done.stdout.splitlines()[-1])
        outcome["errors"] += [line[:1000] for line in agent.log.splitlines() if '"internal_error"' in line][:20]
    return outcome


def token(agent):
    """A token with every scope, made at the agent's control socket."""
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(next(agent.directory.rglob("agent.sock"))))
    wish = {"name": "schemathesis", "scopes": sorted(map(str, LOCAL_SCOPES))}
    connection.request("POST", "/tokens", json.dumps(wish), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["token"]


def told(one):
    """A fault in one line."""
    words = " ".join(one["message"].split())[:400]
    return f"{one['times']}x {one['check']} {one['operation']} ({one['phase']}): {words} | {one['request']} | {one['answer']}"
