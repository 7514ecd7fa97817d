"""An MCP service over stdio with as many tools as its argument says, each with a schema of ordinary size."""

import json
import sys

PROPERTIES = {
    f"field_{number}": {"type": "string", "description": "One of several values that such a tool takes."}
    for number in range(5)
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["field_0"]}


def main() -> None:
    """Serve until standard input ends."""
    tools = [
        {"name": f"get_thing_{number}", "description": f"Get the thing of kind {number}.", "inputSchema": SCHEMA}
        for number in range(int(sys.argv[1]))
    ]
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue
        result = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "many", "version": "1"},
            },
            "tools/list": {"tools": tools},
            "tools/call": {"content": [{"type": "text", "text": "a thing"}]},
        }.get(request["method"])
        answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "not found"}}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
