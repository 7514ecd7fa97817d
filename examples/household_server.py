"""A calendar and a post office to try rules with: `calendar` or `mail` as its only argument, over stdio.

    python examples/household_server.py calendar

Nothing leaves the machine: appointments and letters are kept until it ends.
"""

import sys

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

events: dict[int, str] = {1: "2026-12-24 18:00 family dinner"}
letters: list[str] = ["from news@shop.example: Everything must go!"]


def list_events() -> str:
    """All appointments, with their numbers."""
    return "\n".join(f"{number}: {text}" for number, text in events.items()) or "There are no appointments."


def add_event(when: str, title: str) -> str:
    """Enter an appointment."""
    number = max(events, default=0) + 1
    events[number] = f"{when} {title}"
    return f"Entered as number {number}."


def cancel_event(number: int) -> str:
    """Strike an appointment."""
    return f"Cancelled: {events.pop(number)}" if number in events else "There is no such appointment."


def read_letters() -> str:
    """All letters, sent and received."""
    return "\n".join(letters)


def send_letter(to: list[str], text: str, cc: list[str] | None = None) -> str:
    """Write to people."""
    everybody = ", ".join([*to, *(cc or [])])
    letters.append(f"to {everybody}: {text}")
    return f"Sent to {everybody}."


def main() -> None:
    """Serve one of the two."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in {"calendar", "mail"}:
        sys.exit("say which: calendar or mail")
    server = MCPServer(name, log_level="WARNING")
    if name == "calendar":
        server.tool()(list_events)
        server.tool()(add_event)
        server.tool(annotations=ToolAnnotations(destructive_hint=True))(cancel_event)
    else:
        server.tool()(read_letters)
        server.tool()(send_letter)
    server.run()


if __name__ == "__main__":
    main()
