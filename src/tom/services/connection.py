"""One open connection to one service, on the official SDK.

Opened, used for any number of calls at the same time, and closed by the task that opened it (`service.py`): the
SDK's contexts belong to the task that enters them. Importing this module imports the SDK, which takes 0.7 s.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    URL_ELICITATION_REQUIRED,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    ServerNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    ToolListChangedNotification,
)
from mcp_types import EmptyResult as Nothing
from pydantic import ValidationError

from tom import __version__
from tom.config.agent import ServiceEntry
from tom.conversation.elicitation import Continuation
from tom.conversation.message import Message
from tom.conversation.tool import ToolOutcome
from tom.errors import ResourceNotFound, ServiceUnavailable
from tom.services import offers, results
from tom.services.child import Child
from tom.services.command import Command, child_environment
from tom.services.http import Overheard, http_streams
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry
from tom.services.listing import RawTool
from tom.services.offers import Answer
from tom.services.rounds import answer_for, call_in_rounds, is_modern, needs_of, question_from
from tom.services.sieve import ORIGINAL
from tom.services.stdio import stdio_streams
from tom.services.underway import Underway, Wanted
from tom.services.unreachable import Forgotten, Outdated, Unreachable, reason_of

DESCRIBED = tuple(
    f"description://{kind}" for kind in ("prompt_consign", "response_consign", "tom_notification", "behavior_prompts")
)
"""Resources whose changes are listened for."""

_RESOURCE_NOT_FOUND = -32002
"""The code of revision 2025-11-25; later ones say that the parameters are invalid."""

_MOST_PAGES = 100
_MOST_LISTED = 20_000
_LISTEN_AGAIN = 5.0
_CLOSED = "Connection closed"
"""The SDK's word for it; its code is one that services use for errors of any kind."""

_SESSION_GONE = "Session terminated"
"""The SDK's word for an HTTP service that does not know our session any more."""

for _name in ("mcp", "client", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log what services say and URLs with their queries


class Connection:
    """An open connection. ``instructions`` is the service's own text about itself."""

    def __init__(
        self, entry: ServiceEntry, on_event: Callable[[], None], on_change: Callable[[str], None], client_name: str
    ) -> None:
        """Use `open_connection`; ``on_event`` is called when the connection ends or the tools change.

        ``client_name`` is what the service is told of who asks. ``on_change`` is called with ``prompts``, ``resources`` or the URI of a resource when that has changed.
        """
        self._entry = entry
        self._client_name = client_name
        self._on_event = on_event
        self._on_change = on_change
        self._calls: list[Underway] = []
        self._subscribed: set[str] = set()
        self._client: Client | None = None
        self._child: Child | None = None
        self._overheard = Overheard()
        self._gone: str | None = None
        self.tools_changed = False
        self.list_ttl: float | None = None

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

    @property
    def server_name(self) -> str:
        """What the service calls itself."""
        told = self._opened.server_info
        return told.name if told is not None else ""

    @property
    def revision(self) -> str:
        """The revision of the protocol that both ends agreed on."""
        return self._opened.protocol_version

    async def list_tools(self) -> list[RawTool]:
        """Every page of the service's tools. Raises what the SDK raises, and `Forgotten` as `call` does.

        ``list_ttl`` is set to the seconds for which the service says that the list holds (None: it does not say).
        """
        self.tools_changed = False
        self.list_ttl = None
        if self._opened.server_capabilities.tools is None:
            return []
        found: list[RawTool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            try:
                page = await self._opened.list_tools(cursor=cursor, cache_mode="refresh")
            except MCPError as error:
                self._check_forgotten(error)
                raise
            found += [RawTool(tool.name, str(tool.input_schema.get(ORIGINAL, "{}"))) for tool in page.tools]
            if "ttl_ms" in page.model_fields_set:
                told = page.ttl_ms / 1000
                self.list_ttl = told if self.list_ttl is None else min(told, self.list_ttl)
            cursor = page.next_cursor
            if not cursor or len(found) >= _MOST_LISTED:
                break
        return found

    # --- calls -----------------------------------------------------------------------------------------------------

    async def call(self, wanted: Wanted, underway: Underway, continuation: Continuation | None = None) -> ToolOutcome:
        """Call a tool; what goes wrong at the service is an outcome.

        Raises `Forgotten` when the call was surely not made and may be made over a new connection, `Outdated` when it
        was not and the list of tools is not the service's any more.
        """
        self._calls.append(underway)
        try:
            return await call_in_rounds(self._opened, wanted, underway, continuation)
        except MCPError as error:
            self._check_forgotten(error)
            if error.code == HEADER_MISMATCH and is_modern(self._opened):
                raise Outdated from None
            if error.code == CONNECTION_CLOSED and (error.message == _CLOSED or self.ended is not None):
                return results.failure(await self._lost_words(), unknown=True)
            if error.code == URL_ELICITATION_REQUIRED:
                return needs_of(error)
            return results.failure(error.message or reason_of(error))
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of what a service sent is the service's
            return results.failure(f"The answer of service '{self._entry.name}' could not be read: {reason_of(error)}")
        finally:
            self._calls.remove(underway)

    async def _elicited(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """A question over the open connection.

        It does not say to which call it belongs: it goes to the latest that has somebody to ask, and until the answer
        comes the time of none of them runs.
        """
        del context
        asking = next((one for one in reversed(self._calls) if one.exchange is not None), None)
        if asking is None:
            return ElicitResult(action="decline")
        question = question_from(params)
        waiting = [one for one in self._calls if one is not asking]
        for one in waiting:
            one.pause()
        try:
            return answer_for(await asking.elicit(question), question.mode)
        except ValidationError:  # not a value that a form's field can have
            return ElicitResult(action="decline")
        finally:
            for one in waiting:
                one.go_on()

    # --- reading ---------------------------------------------------------------------------------------------------

    async def list_prompts(self) -> Answer[tuple[PromptEntry, ...]]:
        """The service's prompts. Raises `ServiceUnavailable`."""
        return await self._told(offers.prompts_of(self._opened, self._entry.name))

    async def list_resources(self) -> Answer[tuple[ResourceEntry, ...]]:
        """The service's resources and templates. Raises `ServiceUnavailable`."""
        return await self._told(offers.resources_of(self._opened, self._entry.name))

    async def prompt(self, prompt: str, arguments: dict[str, str]) -> tuple[Message, ...]:
        """A prompt's messages. Raises `ServiceUnavailable`."""
        return await self._told(offers.prompt_of(self._opened, prompt, arguments))

    async def read(self, uri: str) -> Answer[ResourceContent]:
        """What a resource holds. Raises `ResourceNotFound`, `ServiceUnavailable`."""
        self._check_resources(uri)
        return await self._told(offers.content_of(self._opened, uri), uri)

    async def describe(self, uri: str) -> Answer[str]:
        """The first text of a resource, whose changes are heard from now on. Raises as `read`."""
        self._check_resources(uri)
        answer = await self._told(offers.description_of(self._opened, uri), uri)
        await self._subscribe(uri)
        return answer

    def _check_resources(self, uri: str) -> None:
        if self._opened.server_capabilities.resources is None:
            raise ResourceNotFound(f"Resource '{uri}' not found")

    async def _told[T](self, question: Awaitable[T], uri: str = "") -> T:
        """What the service says; its errors as Tom's."""
        try:
            return await question
        except MCPError as error:
            self._check_forgotten(error)
            if uri and error.code in {_RESOURCE_NOT_FOUND, INVALID_PARAMS}:
                raise ResourceNotFound(f"Resource '{uri}' not found") from None
            reason = self.why if error.code == CONNECTION_CLOSED else reason_of(error)
            raise ServiceUnavailable(f"Service '{self._entry.name}' failed: {reason}") from None
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of what a service sent is the service's
            raise ServiceUnavailable(
                f"The answer of service '{self._entry.name}' could not be read: {reason_of(error)}"
            ) from None

    async def _subscribe(self, uri: str) -> None:
        """Hear of changes of this resource, where the service tells of such. 2026-07-28: see `_listen`."""
        resources = self._opened.server_capabilities.resources
        if is_modern(self._opened) or resources is None or not resources.subscribe or uri in self._subscribed:
            return
        self._subscribed.add(uri)
        request = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
        with contextlib.suppress(Exception):  # it is read again after a while anyway
            await self._opened.session.send_request(request, Nothing)

    def _check_forgotten(self, error: MCPError) -> None:
        if error.code == INVALID_REQUEST and error.message == _SESSION_GONE:
            self._gone = "it has restarted"
            self._on_event()
            raise Forgotten from None

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
            client_info=Implementation(name=self._client_name, version=__version__),
            message_handler=self._heard,
            elicitation_callback=self._elicited,
        )
        self._client = await stack.enter_async_context(client)
        if is_modern(client) and any(self._wishes().values()):
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

    # --- what has changed ------------------------------------------------------------------------------------------

    async def _heard(self, message: ServerNotification | Exception) -> None:
        match message:
            case ToolListChangedNotification():
                self._change()
            case PromptListChangedNotification():
                self._on_change("prompts")
            case ResourceListChangedNotification():
                self._on_change("resources")
            case ResourceUpdatedNotification():
                self._on_change(str(message.params.uri))
            case _:
                pass

    def _change(self) -> None:
        self.tools_changed = True
        self._on_event()

    def _wishes(self) -> dict[str, Any]:
        """What to listen for, of what the service can tell."""
        able = self._opened.server_capabilities
        return {
            "tools_list_changed": bool(able.tools and able.tools.list_changed),
            "prompts_list_changed": bool(able.prompts and able.prompts.list_changed),
            "resources_list_changed": bool(able.resources and able.resources.list_changed),
            "resource_subscriptions": DESCRIBED if able.resources and able.resources.subscribe else (),
        }

    async def _listen(self, client: Client) -> None:
        """Keep the subscription open through which services of 2026-07-28 say what has changed."""
        while self.ended is None:
            try:
                async with client.listen(**self._wishes()) as subscription:
                    async for event in subscription:
                        self._take(event)
            except SubscriptionLost:
                for missed in (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()):
                    self._take(missed)  # what changed meanwhile was not heard
                for uri in DESCRIBED:
                    self._take(ResourceUpdated(uri))
            except Exception:  # noqa: BLE001 - a service that offers no subscription is not asked again
                return
            await asyncio.sleep(_LISTEN_AGAIN)

    def _take(self, event: Any) -> None:
        match event:
            case ToolsListChanged():
                self._change()
            case PromptsListChanged():
                self._on_change("prompts")
            case ResourcesListChanged():
                self._on_change("resources")
            case ResourceUpdated(uri):
                self._on_change(uri)
            case _:
                pass


async def open_connection(
    entry: ServiceEntry,
    stack: AsyncExitStack,
    own: Mapping[str, str],
    on_event: Callable[[], None],
    on_change: Callable[[str], None] = lambda _what: None,
    client_name: str = "tom",
) -> Connection:
    """Reach the service and agree on a revision; ``stack`` closes what was opened, also when this raises.

    ``own`` is the agent's environment, of which a child gets the few names that `command.INHERITED` lists. Raises
    `Unreachable` with the reason.
    """
    connection = Connection(entry, on_event, on_change, client_name)
    try:
        if entry.command:
            connection.start_child(stack, own)
        await connection.shake_hands(stack)
    except Exception as error:  # noqa: BLE001 - every way in which a service can fail to come up
        raise Unreachable(connection.explain(error)) from None
    return connection
