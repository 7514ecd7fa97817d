"""One open connection to one service, on the official SDK.

Opened, used for any number of calls at the same time, and closed by the task that opened it (`service.py`): the
SDK's contexts belong to the task that enters them. Importing this module imports the SDK, which takes 0.7 s.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, Implementation, ServerNotification
from mcp_types import ToolListChangedNotification as ToolsChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tom import __version__
from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolOutcome
from tom.services import results
from tom.services.child import Child
from tom.services.command import Command, child_environment
from tom.services.http import Overheard, http_streams
from tom.services.listing import RawTool
from tom.services.sieve import ORIGINAL
from tom.services.stdio import stdio_streams
from tom.services.unreachable import Forgotten, Unreachable, reason_of

KEY = "tom/key"
_MOST_PAGES = 100
_MOST_LISTED = 20_000
_LISTEN_AGAIN = 5.0
_SESSION_GONE = "Session terminated"
"""The SDK's word for an HTTP service that does not know our session any more."""

for _name in ("mcp", "client", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log what services say and URLs with their queries


class Connection:
    """An open connection. ``instructions`` is the service's own text about itself."""

    def __init__(self, entry: ServiceEntry, on_event: Callable[[], None]) -> None:
        """Use `open_connection`; ``on_event`` is called when the connection ends or the tools change."""
        self._entry = entry
        self._on_event = on_event
        self._client: Client | None = None
        self._child: Child | None = None
        self._overheard = Overheard()
        self._gone: str | None = None
        self.tools_changed = False

    @property
    def ended(self) -> str | None:
        """Why nothing can be asked any more; None while it can."""
        return self._gone or (self._child.ended if self._child is not None else None)

    @property
    def why(self) -> str:
        """How it ended, as far as that is known."""
        return self.ended or self._overheard.broken or "the connection broke"

    @property
    def instructions(self) -> str:
        """What the service says it is for."""
        return self._opened.instructions or ""

    async def list_tools(self) -> list[RawTool]:
        """Every page of the service's tools. Raises what the SDK raises."""
        self.tools_changed = False
        if self._opened.server_capabilities.tools is None:
            return []
        found: list[RawTool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._opened.list_tools(cursor=cursor, cache_mode="refresh")
            found += [
                RawTool(tool.name, tool.description or tool.title or "", tool.input_schema.get(ORIGINAL))
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if not cursor or len(found) >= _MOST_LISTED:
                break
        return found

    async def call(self, tool: str, arguments: Mapping[str, Any], key: str) -> ToolOutcome:
        """Call a tool; what goes wrong at the service is an outcome.

        Raises `Forgotten` when the call was surely not made and may be made over a new connection.
        """
        try:
            result = await self._opened.call_tool(tool, dict(arguments), meta={KEY: key} if key else None)
        except MCPError as error:
            if error.code == INVALID_REQUEST and error.message == _SESSION_GONE:
                self._gone = "it has restarted"
                self._on_event()
                raise Forgotten from None
            if error.code == CONNECTION_CLOSED:
                return results.failure(await self._lost_words(), unknown=True)
            return results.failure(error.message or reason_of(error))
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of what a service sent is the service's
            return results.failure(f"The answer of service '{self._entry.name}' could not be read: {reason_of(error)}")
        return results.outcome_of(result)

    @property
    def _opened(self) -> Client:
        if self._client is None:
            raise Unreachable
        return self._client

    async def _lost_words(self) -> str:
        await asyncio.sleep(0)  # let the end arrive whose first sign this was
        return (
            f"The connection to service '{self._entry.name}' ended during the call: {self.why}. "
            "It is not known whether the call took effect."
        )

    # --- opening -------------------------------------------------------------------------------------------------

    def start_child(self, stack: AsyncExitStack, own: Mapping[str, str]) -> None:
        """Start the service's process; the stack stops it."""
        entry = self._entry
        given = {name: value.reveal() for name, value in entry.env.items()}
        command = Command(entry.command, entry.args, child_environment(given, own), entry.cwd)
        self._child = Child.start(command)
        stack.push_async_callback(self._child.stop)
        self._child.on_end = self._on_event

    async def shake_hands(self, stack: AsyncExitStack) -> None:
        """Agree on a revision; the stack closes the conversation."""
        client = Client(
            self._streams(),
            mode="auto",
            cache=None,
            client_info=Implementation(name="tom", version=__version__),
            message_handler=self._heard,
        )
        self._client = await stack.enter_async_context(client)
        capabilities = client.server_capabilities.tools
        if client.protocol_version in MODERN_PROTOCOL_VERSIONS and capabilities and capabilities.list_changed:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(group.create_task(self._listen(client)).cancel)

    def explain(self, error: BaseException) -> str:
        """Why opening failed, in one line for people, without the service's own secrets."""
        said = self._child.last_words if self._child is not None else ""
        if self._child is not None and self._child.ended is not None:
            reason = f"{self._child.ended}: {said}" if said else self._child.ended
        elif self._overheard.status:
            reason = f"it answered HTTP {self._overheard.status}"
        else:
            reason = reason_of(error)
        for secret in (*self._entry.env.values(), *self._entry.headers.values()):
            if secret:
                reason = reason.replace(secret.reveal(), "***")
        return reason

    def _streams(self) -> Any:
        if self._child is not None:
            return stdio_streams(self._entry.name, self._child)
        return http_streams(self._entry, self._overheard)

    async def _heard(self, message: ServerNotification | Exception) -> None:
        if isinstance(message, ToolsChanged):
            self._change()

    def _change(self) -> None:
        self.tools_changed = True
        self._on_event()

    async def _listen(self, client: Client) -> None:
        """Keep the subscription open through which services of 2026-07-28 say that their tools changed."""
        while self.ended is None:
            try:
                async with client.listen(tools_list_changed=True) as subscription:
                    async for _ in subscription:
                        self._change()
            except SubscriptionLost:
                self._change()  # what changed meanwhile was not heard
            except Exception:  # noqa: BLE001 - a service that offers no subscription is not asked again
                return
            await asyncio.sleep(_LISTEN_AGAIN)


async def open_connection(
    entry: ServiceEntry, stack: AsyncExitStack, own: Mapping[str, str], on_event: Callable[[], None]
) -> Connection:
    """Reach the service and agree on a revision; ``stack`` closes what was opened, also when this raises.

    ``own`` is the agent's environment, of which a child gets the few names that `command.INHERITED` lists. Raises
    `Unreachable` with the reason.
    """
    connection = Connection(entry, on_event)
    try:
        if entry.command:
            connection.start_child(stack, own)
        await connection.shake_hands(stack)
    except Exception as error:  # noqa: BLE001 - every way in which a service can fail to come up
        raise Unreachable(connection.explain(error)) from None
    return connection
