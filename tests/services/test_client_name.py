"""What a service is told of who asks: the name in the settings."""

import json
import sys

import pytest

from tom.config.agent import ServiceEntry

pytestmark = pytest.mark.anyio

LISTENER = """
import json, sys
for line in sys.stdin:
    with open(sys.argv[1], "a") as heard:
        heard.write(line)
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        told = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "listener", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
    elif "id" in asked:
        error = {"code": -32601, "message": "no such method"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
"""


async def test_a_service_is_told_the_name_that_the_settings_say(quick, tmp_path, until):
    heard = tmp_path / "heard"
    heard.touch()
    entry = ServiceEntry(name="listener", command=sys.executable, args=("-c", LISTENER, str(heard)))
    async with quick(entry, client_name="shop-backend") as registry:
        await registry.tools()
        await until(lambda: '"initialize"' in heard.read_text())
        asked = [json.loads(line) for line in heard.read_text().splitlines()]
    names = {ask["params"]["clientInfo"]["name"] for ask in asked if ask.get("method") == "initialize"}
    assert names == {"shop-backend"}
