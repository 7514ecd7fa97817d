"""The SDK's streams over a child process: one JSON-RPC message a line.

The SDK's own stdio transport passes more of the environment on than a service may see, has no limit on a line and
does not end what a service leaves behind; so this stands in its place.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, cast

import anyio
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, jsonrpc_message_adapter

from tom.services.child import Child
from tom.services.cleaning import whole_value
from tom.services.sieve import repaired
from tom.telemetry import logs

log = logs.get("mcp")

_RUBBISH_LOGGED = 3
"""Lines that are no message, of one connection, that are logged one by one."""


@asynccontextmanager
async def stdio_streams(service: str, child: Child) -> AsyncGenerator[TransportStreams]:
    """Speak with ``child``, which is started and stopped by the caller."""
    incoming = _Incoming(service, child)
    try:
        yield incoming, _Outgoing(child)
    finally:
        incoming.sum_up()


class _Stream:
    """What the SDK's streams have in common: they are entered, left and closed, and the child outlives them."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._closed = False

    async def aclose(self) -> None:
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


class _Incoming(_Stream):
    """Messages from the service."""

    def __init__(self, service: str, child: Child) -> None:
        super().__init__(child)
        self._service = service
        self._rubbish = 0

    async def receive(self) -> SessionMessage | Exception:
        while not self._closed:
            try:
                line = await self._child.receive()
            except EOFError:
                break
            if not line or line.isspace():
                continue
            message = _parse(line)
            if message is not None:
                return repaired(SessionMessage(message))
            self._skip(line)
        raise anyio.EndOfStream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def _skip(self, line: bytes) -> None:
        self._rubbish += 1
        if self._rubbish <= _RUBBISH_LOGGED:
            text = f"⚠️ Service '{self._service}' wrote {len(line)} bytes that are no message; skipped"
            log.warning(text, event="service_rubbish", service=self._service, size=len(line))

    def sum_up(self) -> None:
        """Say how much more was skipped than was logged."""
        if self._rubbish > _RUBBISH_LOGGED:
            text = f"⚠️ Service '{self._service}' wrote {self._rubbish} lines that are no message"
            log.warning(text, event="service_rubbish", service=self._service, lines=self._rubbish)


class _Outgoing(_Stream):
    """Messages to the service."""

    async def send(self, item: SessionMessage, /) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            # A notification is mostly a cancellation: it must not wait behind a service that has stopped reading.
            await self._child.send(text.encode() + b"\n", urgent=isinstance(item.message, JSONRPCNotification))
        except ConnectionError:
            raise anyio.BrokenResourceError from None


def _parse(line: bytes) -> JSONRPCMessage | None:
    """The message on this line; None when it is none."""
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    try:  # what the quick reader refuses, too deep or with half a character: one tool must not hide the others
        return jsonrpc_message_adapter.validate_python(_mended(json.loads(line)), by_name=False)
    except (ValueError, RecursionError):
        return None


def _mended(message: Any) -> Any:
    """The message in whole characters; but tools stay as they are, for their pins stand for all of them."""
    result = cast("dict[str, Any]", message).get("result") if isinstance(message, dict) else None
    if isinstance(result, dict) and "tools" in cast("dict[str, Any]", result):
        return cast("Any", message)
    return whole_value(message)
