"""A small MCP server that shows how a service tells Tom to word its results: weather that is made up.

    python examples/weather_server.py                 over stdio, as `command` in config.yml
    python examples/weather_server.py --http 20081    over streamable HTTP, at http://127.0.0.1:20081/mcp

All resources under ``description://`` are optional. None of them can allow a tool or change a rule.
"""

import argparse
import hashlib
import json

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("weather", instructions="Tells the weather of a city.", log_level="WARNING")
SKIES = ("clear", "cloudy", "rain", "fog")


def _number(*words: object) -> int:
    """A number that is always the same for the same words."""
    return hashlib.sha256("\0".join(map(str, words)).encode()).digest()[0]


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def get_forecast(city: str, days: int = 3) -> str:
    """Forecast of the next days for a city."""
    forecast = [
        {"day": day, "sky": SKIES[_number(city, day) % len(SKIES)], "high": 5 + _number(city, day, "high") % 25}
        for day in range(1, min(max(days, 1), 7) + 1)
    ]
    return json.dumps({"city": city, "unit": "°C", "forecast": forecast}, ensure_ascii=False)


@server.resource("description://weather", mime_type="text/plain")
def description() -> str:
    """What the service is for: read when Tom decides which services a message needs."""
    return "Weather: forecasts of the next seven days for any city."


@server.resource("description://prompt_consign", mime_type="text/plain")
def prompt_consign() -> str:
    """Told to the model before its first call, when the service was selected."""
    return "A forecast needs a city. When the user names none, use the one they live in if it is known, else ask."


@server.resource("description://response_consign", mime_type="application/json")
def response_consign() -> str:
    """Told to the model after a tool of this service was called."""
    return json.dumps(
        {
            "description": "How forecasts are worded",
            "formatting_guidelines": "A table with one row per day: day, sky, highest temperature in °C.",
            "restrictions": "Say that the weather is made up.",
        },
        ensure_ascii=False,
    )


@server.resource("description://tom_notification", mime_type="text/plain")
def tom_notification() -> str:
    """One line for the list of what goes on in the background; empty text is nothing."""
    return "made-up weather is ready"


def main() -> None:
    """Serve over stdio, or over HTTP where a port is given."""
    parser = argparse.ArgumentParser(description="A weather service to try Tom with.")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP on this port of 127.0.0.1")
    port = parser.parse_args().http
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
