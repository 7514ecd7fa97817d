"""`limits`: what a run and a user's day may use, as the file says it. Resolved in `resolving.py`."""

from pydantic import Field

from tom.config.entries import Section
from tom.config.values import Number, Username, Whole


class RunLimitsSection(Section):
    """`limits.run`."""

    tool_calls: Whole | None = Field(default=None, ge=1, description="calls of tools in one run; default 100")
    parallel: Whole | None = Field(default=None, ge=1, le=64, description="calls at once; default 8")
    tokens_in: Whole | None = Field(default=None, ge=1, description="tokens of all its prompts; default 1000000")
    tokens_out: Whole | None = Field(default=None, ge=1, description="tokens of all its replies; default 64000")
    result: Whole | None = Field(
        default=None, ge=1000, description="characters of one result that the model gets to read; default 100000"
    )
    reply_bytes: Whole | None = Field(default=None, ge=1024, description="bytes of one reply; default 10485760")
    cost: Number | None = Field(default=None, ge=0, description="in the currency of the prices; default 2")


class DayLimitsSection(Section):
    """`limits.user`."""

    cost_per_day: Number | None = Field(default=None, ge=0, description="in the currency of the prices; default 10")
    tokens_per_day: Whole | None = Field(default=None, ge=1, description="prompts and replies; default 10000000")


class ScopeLimitsSection(Section):
    """Limits of some users."""

    run: RunLimitsSection = Field(default_factory=RunLimitsSection, description="as `limits.run`")
    user: DayLimitsSection = Field(default_factory=DayLimitsSection, description="as `limits.user`")


class LimitsSection(ScopeLimitsSection):
    """`limits`: for all users. What a user's own entry says wins over their groups', and that over these."""

    groups: dict[str, ScopeLimitsSection] = Field(
        default_factory=dict, title="mapping", description="for a group; of several groups the smallest value counts"
    )
    users: dict[Username, ScopeLimitsSection] = Field(default_factory=dict, title="mapping", description="for one user")
