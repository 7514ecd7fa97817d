"""Lists of tools, made fit for the SDK before it reads them.

The SDK refuses a whole list for one tool that it finds wrong, and a whole result that breaks the tool's own output
schema after the call has been made. So a tool reaches it with a schema it cannot refuse, which carries the whole
definition as the service wrote it inside, as text; output schemas do not reach it at all.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

from mcp.client._transport import ReadStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from tom.services.definition import canonical

ORIGINAL = "x-tom-original"
"""Keyword under which the service's own definition travels, as canonical JSON."""

_MIRRORED = "x-mcp-header"
_MIRROR_DEPTH = 8
_DEEPEST = 100
"""Levels of JSON that the SDK's own reader takes."""


def repaired(item: SessionMessage | Exception) -> SessionMessage | Exception:
    """``item``, with its list of tools made fit where it is one."""
    if isinstance(item, SessionMessage) and isinstance(item.message, JSONRPCResponse):
        tools = item.message.result.get("tools")
        if isinstance(tools, list):
            fitting = (_fit(tool) for tool in cast("list[Any]", tools) if _is_named(tool))
            item.message.result["tools"] = [tool for tool in fitting if tool is not None]
    return item


class Sieved:
    """A read stream of the SDK whose lists of tools are `repaired`."""

    def __init__(self, below: ReadStream[SessionMessage | Exception]) -> None:
        self._below = below

    @property
    def last_context(self) -> Any:
        """What the SDK looks for on streams that keep their sender's context."""
        return getattr(self._below, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        return repaired(await self._below.receive())

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return repaired(await self._below.__anext__())

    async def __aenter__(self) -> Self:
        await self._below.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._below.__aexit__(exc_type, exc_val, exc_tb)


def _is_named(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(cast("dict[str, Any]", tool).get("name"), str)


def _fit(tool: dict[str, Any]) -> dict[str, Any] | None:
    """The tool as the SDK may read it; None when it is nested beyond all measure."""
    try:
        shown: dict[str, Any] = {"type": "object", ORIGINAL: canonical(tool)}
    except RecursionError:
        return None
    schema = _cut(tool.get("inputSchema"), _DEEPEST)
    if _is_mirrored(schema, _MIRROR_DEPTH):  # the SDK mirrors these arguments into HTTP headers
        shown["properties"] = cast("dict[str, Any]", schema)["properties"]
    return {"name": tool["name"], "inputSchema": shown}


def _cut(value: Any, levels: int) -> Any:
    """A copy that ends after so many levels, where the rest becomes an empty object, which allows anything."""
    if isinstance(value, dict):
        inside = cast("dict[str, Any]", value)
        return {key: _cut(one, levels - 1) for key, one in inside.items()} if levels else {}
    if isinstance(value, list):
        return [_cut(one, levels - 1) for one in cast("list[Any]", value)] if levels else []
    return value


def _is_mirrored(schema: Any, depth: int) -> bool:
    """Whether a property, or one inside it, asks to be sent as a header."""
    if not isinstance(schema, Mapping) or depth == 0:
        return False
    properties = cast("Mapping[str, Any]", schema).get("properties")
    if not isinstance(properties, Mapping):
        return False
    inside = list(cast("Mapping[str, Any]", properties).values())
    return all(isinstance(one, dict | bool) for one in inside) and any(
        isinstance(one, dict) and (_MIRRORED in one or _is_mirrored(one, depth - 1)) for one in inside
    )
