"""An MCP service (stdio) that writes down every effect it has, and can be held before or after it.

``python -m tom.testing.ledger_service DIRECTORY``. Each call of ``write_note`` appends one line to
``DIRECTORY/effects.jsonl``; the number of lines is the number of times the world was changed. While the file
``hold-before`` or ``hold-after`` exists in the directory, a call waits there, and ``held`` exists. So a test can kill
an agent at an exact moment of a call and then count. Plain JSON-RPC (revision 2025-11-25): it starts in no time.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PROTOCOL = "2025-11-25"
POLL = 0.005

_NOTE = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_NONE: dict[str, Any] = {"type": "object", "properties": {}}
TOOLS = [
    {"name": "write_note", "description": "Write a note.", "inputSchema": _NOTE},
    {"name": "read_notes", "description": "Read all notes.", "inputSchema": _NONE},
]


class Ledger:
    """The notes of one directory."""

    def __init__(self, directory: Path) -> None:
        """Keep them in ``directory``."""
        self._directory = directory
        self._effects = directory / "effects.jsonl"

    def call(self, name: str, arguments: dict[str, Any], key: str) -> str:
        """Carry out one call."""
        self._hold("hold-before")
        if name == "write_note":
            self._write({"text": arguments["text"], "key": key})
            said = "written"
        else:
            self._write_read(key)
            said = self._effects.read_text() if self._effects.exists() else ""
        self._hold("hold-after")
        return said

    def _write(self, effect: dict[str, Any]) -> None:
        with self._effects.open("a") as file:
            file.write(json.dumps(effect) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_read(self, key: str) -> None:
        with (self._directory / "reads.jsonl").open("a") as file:
            file.write(json.dumps({"key": key}) + "\n")

    def _hold(self, gate: str) -> None:
        if not (self._directory / gate).exists():
            return
        (self._directory / "held").touch()
        while (self._directory / gate).exists():
            time.sleep(POLL)
        (self._directory / "held").unlink(missing_ok=True)


def answer(ledger: Ledger, request: dict[str, Any]) -> dict[str, Any]:
    """The result or error of one request."""
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        info = {"name": "ledger", "version": "1"}
        return {"result": {"protocolVersion": PROTOCOL, "capabilities": {"tools": {}}, "serverInfo": info}}
    if method == "tools/list":
        return {"result": {"tools": TOOLS}}
    if method == "tools/call":
        key = params.get("_meta", {}).get("tom/key", "")
        text = ledger.call(params["name"], params.get("arguments", {}), key)
        return {"result": {"content": [{"type": "text", "text": text}]}}
    if method == "ping":
        return {"result": {}}
    return {"error": {"code": -32601, "message": "Method not found"}}


def main() -> None:
    """Serve until standard input ends."""
    ledger = Ledger(Path(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            reply = {"jsonrpc": "2.0", "id": request["id"], **answer(ledger, request)}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
