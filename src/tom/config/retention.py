"""`repository`: where conversations are kept and for how long, as the file says it; also under `chat.service`."""

from typing import Literal

from pydantic import Field

from tom.config.entries import Section
from tom.config.values import Number, Whole


class PersistenceSection(Section):
    """`repository.persistence`."""

    enabled: bool = Field(default=True, description="false: conversations are kept in memory only")
    clear_on_startup: bool = Field(default=False, description="true: everything stored is erased at each start")
    retention_policy: Literal["unlimited", "token_limit", "message_count", "time_based"] = Field(
        default="unlimited", description="what of a conversation is kept; what goes is erased for good, whole runs only"
    )
    max_tokens_per_conversation: Whole = Field(
        default=8000, ge=1, description="with `token_limit`: the newest runs of so many tokens together"
    )
    max_messages_per_conversation: Whole = Field(
        default=100, ge=1, description="with `message_count`: so many of the newest messages, the user's and Tom's"
    )
    retention_days: Number = Field(default=30, ge=1, le=36_500, description="with `time_based`: so many days")


class RepositorySection(Section):
    """`repository`."""

    type: Literal["sql", "memory"] = Field(default="sql", description="where conversations are kept")
    path: str | None = Field(
        default=None, min_length=1, description="file name in the user's directory; default `history.db`"
    )
    persistence: PersistenceSection = Field(default_factory=PersistenceSection, description="")
