"""Answering asks: what waits for the person, and the person's word.

Every door of the owner uses this: it checks the digest, the arguments, the answer's form and the time, appends the
answer (the store lets only the first through), and has the run taken up when nothing is open any more.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from tom.conversation.elicitation import ElicitationAnswer


class Answering(Protocol):
    """What doors do with asks. Implemented by `Approvals`; ids of other people's asks are unknown ids."""

    async def pending(self) -> tuple[dict[str, Any], ...]:
        """The objects (`asks.ask_object`) of all open asks, oldest first: approvals and elicitations."""
        ...

    async def decide(
        self,
        approval_id: str,
        decision: str,
        *,
        digest: str,
        arguments: Mapping[str, Any] | None = None,
        note: str = "",
        remember: str = "once",
        by: str,
        device: str = "",
    ) -> dict[str, Any]:
        """Answer an approval with ``allow`` or ``deny``; returns ``{"approval_id", "decision", "answered_at"}``.

        Raises `ApprovalNotFound`, `AlreadyAnswered` (its details carry the same object), `AskExpired`,
        `ArgumentsChanged` when ``digest`` is not the asked one, `InvalidAnswer` when edited ``arguments`` break the
        tool's schema or ``remember`` is not on offer.
        """
        ...

    async def reply(
        self, elicitation_id: str, answer: ElicitationAnswer, *, by: str, device: str = ""
    ) -> dict[str, Any]:
        """Answer a service's question; returns ``{"elicitation_id", "outcome", "answered_at"}``.

        Raises `ElicitationNotFound`, `AlreadyAnswered`, `AskExpired`, `InvalidAnswer` with ``errors``.
        """
        ...
