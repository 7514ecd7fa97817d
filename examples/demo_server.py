"""A small MCP server to try Tom with: a shopping list with tools, a prompt and resources.

    python examples/demo_server.py                 over stdio, as `command` in config.yml
    python examples/demo_server.py --http 20080    over streamable HTTP, at http://127.0.0.1:20080/mcp

It speaks the revisions 2025-11-25 and 2026-07-28 of MCP. The list is forgotten when it ends.
"""

import argparse
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

server = MCPServer("demo", instructions="Keeps a shopping list and adds numbers.", log_level="WARNING")
shopping: list[str] = ["bread", "milk"]


class Clearing(BaseModel):
    """What is asked before the list is cleared."""

    sure: bool = Field(title="Clear the whole list?")
    keep: int = Field(default=0, title="Items to keep", ge=0)


def ask_before_clearing() -> Elicit[Clearing]:
    """The question; Tom shows it as a form, on any device."""
    return Elicit(f"The list has {len(shopping)} items.", Clearing)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def get_list() -> str:
    """Show the shopping list."""
    return "\n".join(shopping) or "The list is empty."


@server.tool()
async def add_item(item: str, context: Context) -> str:
    """Put an item on the shopping list."""
    shopping.append(item)
    await context.notify_resource_updated("demo://list")
    return f"{item} is on the list."


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
async def clear_list(answer: Annotated[ElicitationResult[Clearing], Resolve(ask_before_clearing)]) -> str:
    """Take everything off the shopping list. Asks first."""
    if not isinstance(answer, AcceptedElicitation) or not answer.data.sure:
        return "The list stays as it is."
    del shopping[answer.data.keep :]
    return f"{len(shopping)} items are left."


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def check_prices(context: Context) -> str:
    """Look up what each item costs, one after the other."""
    for number, item in enumerate(shopping, 1):
        await context.report_progress(number, len(shopping), item)
    return "\n".join(f"{item}: {len(item)}.00" for item in shopping)


@server.prompt()
def plan_meal(occasion: str, guests: str = "2") -> str:
    """Plan a meal and what has to be bought for it."""
    return f"Plan a meal for {occasion} with {guests} guests. Look at the shopping list first."


@server.resource("demo://list", mime_type="text/plain")
def list_resource() -> str:
    """The shopping list."""
    return "\n".join(shopping)


@server.resource("demo://item/{item}")
def item_resource(item: str) -> str:
    """What is known about one item."""
    return f"{item} is {'on' if item in shopping else 'not on'} the list."


@server.resource("description://demo")
def description() -> str:
    """What Tom's triage reads about this service."""
    return "The household's shopping list; also adds numbers."


@server.resource("description://response_consign")
def response_consign() -> str:
    """How answers are to be worded after this service was used."""
    return "Name items of the shopping list in one short line."


def main() -> None:
    """Serve over stdio, or over HTTP on a port of this machine."""
    parser = argparse.ArgumentParser(description="A small MCP server to try Tom with.")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP on this port")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="of this address (default: 127.0.0.1)")
    given = parser.parse_args()
    port = given.http
    if port is None:
        server.run()
    else:
        server.run("streamable-http", host=given.host, port=port)


if __name__ == "__main__":
    main()
