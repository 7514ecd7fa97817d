"""A conversation written out: complete as JSON, to be read as Markdown, or as messages in OpenAI's shape.

Pure: each format takes the conversation's row and stretches of its events, and gives pieces of text as they come.
"""

import base64
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from tom.agent.shown import event_json
from tom.conversation.asks import ALLOW
from tom.conversation.event import Event, EventType
from tom.store.eventstore import ConversationRow

FORMAT, VERSION = "tom.conversation", 1

type Stretches = AsyncIterable[Sequence[Event]]
type ReadFile = Callable[[str, str], Awaitable[bytes | None]]
"""The content of a file of a conversation; None when it is not kept."""


def conversation_json(row: ConversationRow) -> dict[str, Any]:
    """What is known of a conversation besides its events."""
    return {
        "id": row.id,
        "title": row.title,
        "title_by": row.title_by,
        "kind": row.kind,
        "surface": row.surface,
        "memory_limit": row.memory_limit,
        "metadata": dict(row.metadata),
        "pinned": row.pinned,
        "services": None if row.services is None else list(row.services),
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "usage": row.usage.as_json(),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


async def as_json(
    row: ConversationRow, stretches: Stretches, read_file: ReadFile, *, epoch: str, at: str, visitor: bool = False
) -> AsyncIterator[str]:
    """Everything, an event a line, so that it can be read back. ``epoch`` is the store's, ``at`` the time of writing.

    After the events stand the files that they name, each once, as far as they are kept.

    Events are as the doors show them (`shown.py`): the house's own instructions stay in the house.
    """
    head = {"format": FORMAT, "version": VERSION, "exported_at": at, "epoch": epoch}
    yield _dump(head | {"conversation": conversation_json(row)})[:-1] + ',"events":['
    before, named = "\n", dict[str, str | None]()
    async for events in stretches:
        for event in events:
            yield before + _dump(event_json(event, visitor=visitor))
            before = ",\n"
            named |= {kept["file"]: kept.get("media_type") for kept in event.extra.get("attachments", ())}
    yield '\n],"files":{'
    before = "\n"
    for name, media_type in named.items():
        content = await read_file(row.id, name)
        if content is not None:
            kind = {"media_type": media_type} if media_type else {}
            yield f"{before}{_dump(name)}:{_dump(kind | {'data': base64.b64encode(content).decode()})}"
            before = ",\n"
    yield "\n}}\n"


async def as_openai(row: ConversationRow, stretches: Stretches, *, visitor: bool = False) -> AsyncIterator[str]:
    """``{"messages": […]}`` as chat completions have them; to a ``visitor`` no instructions."""
    yield _dump({"id": row.id, "title": row.title})[:-1] + ',"messages":['
    before = "\n"
    async for events in stretches:
        for message in (message for event in events if (message := _message(event)) is not None):
            if visitor and message["role"] == "system":
                continue
            yield before + _dump(message)
            before = ",\n"
    yield "\n]}\n"


def _message(event: Event) -> dict[str, Any] | None:
    if event.role is None or event.type == EventType.HISTORY_COMPACTED:
        return None
    if event.role == "system" and not event.run_id:  # the house's own
        return None
    message: dict[str, Any] = {"role": event.role, "content": event.content or ""}
    if event.tool_calls:
        calls = [(call.id, {"name": call.name, "arguments": call.arguments}) for call in event.tool_calls]
        message["tool_calls"] = [{"id": call_id, "type": "function", "function": made} for call_id, made in calls]
    if event.role == "tool":
        message["tool_call_id"] = event.tool_call_id
    return message


async def as_markdown(row: ConversationRow, stretches: Stretches) -> AsyncIterator[str]:
    """For people: who said what and when, calls with their results folded between."""
    yield f"# {_line(row.title) or 'Conversation'}\n\n{row.created_at}, {row.surface or 'api'}\n"
    async for events in stretches:
        for event in events:
            yield _section(event)


def _section(event: Event) -> str:
    render = _SECTIONS.get(event.type)  # pyright: ignore[reportArgumentType] - a StrEnum's member and its text are one key
    return render(event) if render is not None else ""


def _received(event: Event) -> str:
    who = "User" if event.role == "user" else "Assistant"
    return f"\n## {who} · {event.timestamp}\n\n{event.content or ''}\n{_attachments(event)}"


def _replied(event: Event) -> str:
    said = f"\n## Assistant · {event.timestamp}\n\n{event.content}\n" if event.content else ""
    return said + ("\n*(cut off)*\n" if event.extra.get("partial") else "")


def _called(event: Event) -> str:
    arguments = json.dumps(event.extra["arguments"], ensure_ascii=False, indent=1)
    return f"\n### Called `{_tool(event)}`\n\n{fenced(arguments, 'json')}\n"


def _returned(event: Event) -> str:
    what = "Error" if event.extra.get("is_error") else "Result"
    return f"\n### {what}\n\n{fenced(event.content or '')}\n{_attachments(event)}"


def _unresolved(event: Event) -> str:
    return f"\n### Outcome unknown\n\n{fenced(event.content or '')}\n"


def _decided(event: Event) -> str:
    return f"\n*{'Allowed' if event.extra['decision'] == ALLOW else 'Denied'}: `{_tool(event)}`*\n"


def _ended(event: Event) -> str:
    return f"\n*Ended: {_line(event.extra.get('reason', ''))}*\n"


def _retired(event: Event) -> str:
    return f"\n*{event.extra['events']} earlier events were erased.*\n"


_SECTIONS: Mapping[EventType, Callable[[Event], str]] = {
    EventType.MESSAGE_RECEIVED: _received,
    EventType.MODEL_REPLIED: _replied,
    EventType.TOOL_CALLED: _called,
    EventType.TOOL_RETURNED: _returned,
    EventType.TOOL_UNRESOLVED: _unresolved,
    EventType.APPROVAL_ANSWERED: _decided,
    EventType.RUN_FAILED: _ended,
    EventType.RUN_CANCELLED: _ended,
    EventType.HISTORY_RETIRED: _retired,
}
"""How people are shown what happened; what is not here is of no interest to them."""


def _tool(event: Event) -> str:
    return f"{_line(event.extra['service'])}.{_line(event.extra['tool'])}"


def _attachments(event: Event) -> str:
    named = (one.get("name") or one["type"] for one in event.extra.get("attachments", ()))
    return "".join(f"\n- attached: {_line(name)}\n" for name in named)


def fenced(text: str, language: str = "") -> str:
    """A block of code that ``text`` cannot end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def file_name(row: ConversationRow, ending: str) -> str:
    """A name for the file: the title's letters and digits, else the conversation's id."""
    words = re.findall(r"[A-Za-z0-9]+", row.title)
    return ("-".join(words)[:60].strip("-") or row.id) + ending


def _line(text: str) -> str:
    return " ".join(text.split())


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
