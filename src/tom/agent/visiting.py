"""What visitors (mode `public`) reach: conversations that were opened to them, and nothing of the person whose agent it is.

A conversation is open to visitors when a visitor opened it, or a request to the REST door did in mode `public`: its
surface says so, its id was made here and cannot be guessed. That lasts: after a change of the mode a conversation of
before stays closed, and one that strangers wrote in stays one without the person's memories, behaviours and context.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request

from tom import ids
from tom.agent.guarding import caller_of
from tom.agent.identity import PERSONAL
from tom.agent.memories import SERVICE as MEMORY_SERVICE
from tom.agent.rest_faults import SessionNotFound, session_id_of
from tom.config.agent import AgentSettings
from tom.errors import ConversationNotFound
from tom.policy.permissions import Caller
from tom.store.eventstore import ConversationRow

if TYPE_CHECKING:
    from tom.agent.cell import Cell

VISITED = "visitor"
"""The surface of a conversation that a visitor opened over a socket."""

_OPEN = frozenset({"rest", VISITED})


def is_open_to_visitors(row: ConversationRow) -> bool:
    """Whether whoever knows its id may read it and write in it."""
    return row.surface in _OPEN and ids.is_capability(row.id)


def check_reach(row: ConversationRow, caller: Caller) -> None:
    """Raise `ConversationNotFound` when ``caller`` is a visitor to whom this one is not open."""
    if caller.visitor and not is_open_to_visitors(row):
        raise ConversationNotFound


def surface_of(caller: Caller, surface: str) -> str:
    """The surface of a conversation that ``caller`` opens at ``surface``."""
    return VISITED if caller.visitor and surface not in _OPEN else surface


async def session_of(cell: "Cell", request: Request) -> ConversationRow:
    """The session that the path names, where the caller reaches it. Raises `SessionNotFound`."""
    try:
        row = await cell.conversations.get(session_id_of(request))
        check_reach(row, caller_of(request))
    except ConversationNotFound:
        raise SessionNotFound from None
    return row


def for_visitors(settings: AgentSettings) -> AgentSettings:
    """The settings of runs that visitors read: without what is known of the person, and the services that keep it."""
    services = tuple(
        replace(entry, enabled=False) if entry.name == MEMORY_SERVICE or entry.builtin in PERSONAL else entry
        for entry in settings.services
    )
    return replace(settings, services=services, personal_context="")
