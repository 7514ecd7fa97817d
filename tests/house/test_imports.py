"""What is heavy is imported when it is needed, not when a process starts."""

import json
import subprocess
import sys

import pytest

CLI_ONLY = {"typer", "rich", "click"}
HEAVY = {"mcp", "openai", "anthropic", "fastapi", "httpx", "httpx2", "matplotlib", "jsonschema", "opentelemetry"}
THIRD_PARTY = {"pydantic", "starlette", "aiohttp", "apsw", "structlog", "uvicorn", "msgspec", "anyio"}

BANNED = {
    "src/tom/conversation/run.py": HEAVY | CLI_ONLY | THIRD_PARTY | {"asyncio"},
    "src/tom/policy/classes.py": HEAVY | CLI_ONLY | THIRD_PARTY | {"asyncio"},
    "src/tom/store/eventstore.py": HEAVY | CLI_ONLY | THIRD_PARTY,
    "src/tom/agent/loop.py": HEAVY | CLI_ONLY | {"pydantic", "aiohttp", "starlette"},
    "src/tom/agent/app.py": HEAVY | CLI_ONLY | {"pydantic", "argon2"},
    "src/tom/gateway/app.py": HEAVY | CLI_ONLY,
}


def loaded(module, root):
    program = f"import sys, json, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True, timeout=60
    )
    return set(json.loads(result.stdout))


@pytest.mark.parametrize("path", BANNED)
def test_starting_imports_nothing_heavy(path, tree):
    module = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
    assert not BANNED[path] & loaded(module, tree.root)
