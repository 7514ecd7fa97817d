"""What a service wants to know from the person while a call of it is under way, and the person's answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Elicitation:
    """One question of a service. ``mode``: ``form`` (``schema`` says which fields) or ``url`` (go there).

    ``key`` is the service's own name for the question within its call (revision 2026-07-28); empty for a question
    that came while the connection waits (2025-11-25).
    """

    mode: str
    message: str
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    url: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    """What the person said. ``outcome``: ``accept``, ``decline`` or ``cancel``; ``content`` only with accept."""

    outcome: str
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a call that was answered with questions is made again with: the answers by key, and the service's state."""

    answers: Mapping[str, ElicitationAnswer] = field(default_factory=dict[str, ElicitationAnswer])
    state: str | None = None


@dataclass(frozen=True, slots=True)
class InputNeeded:
    """A service did not answer a call but asks; the same call is to be made again with a `Continuation`."""

    questions: tuple[Elicitation, ...]
    state: str | None = None
