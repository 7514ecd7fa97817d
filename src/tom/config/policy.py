"""`policy`: what may happen without being asked, as the file says it. Resolved in `rules.py`."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from tom.config.entries import Section
from tom.config.values import ToolClass, Username, Whole

_SERVICE = re.compile(r"[a-z0-9_*?-]{1,64}")


def _filled(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("must name somebody; leave it out for all")
    if not all(names):
        raise ValueError("must not hold an empty name")
    return names


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise ValueError("must be the name of a service, '*' and '?' allowed")
    return text


class RuleSection(Section):
    """One entry of `policy.rules`. What is left out matches everything."""

    verdict: Literal["allow", "ask", "deny"] = Field(description="deny beats ask beats allow")
    users: Annotated[list[Username], AfterValidator(_filled)] | None = Field(
        default=None, description="for these users"
    )
    groups: Annotated[list[str], AfterValidator(_filled)] | None = Field(
        default=None, description="for users of one of these groups"
    )
    service: Annotated[str, AfterValidator(_service)] | None = Field(
        default=None, description="pattern of the service's name"
    )
    tool: str | None = Field(
        default=None, min_length=1, max_length=256, description="pattern of the tool's name, or of `service.tool`"
    )
    class_: ToolClass | None = Field(default=None, alias="class", description="tools of this class")
    arguments: dict[str, str] = Field(
        default_factory=dict, description="argument → pattern; `allow` needs all its values to match, others one"
    )
    until: str | None = Field(default=None, description="the last day, or a moment; then the rule has ended")
    even_when_tainted: bool = Field(
        default=False, description="`allow` holds after untrusted text was read, too; for one named tool only"
    )

    @field_validator("arguments")
    @classmethod
    def _patterns(cls, arguments: dict[str, str]) -> dict[str, str]:
        for name, pattern in arguments.items():
            if not pattern.removeprefix("!"):
                raise ValueError(f"the pattern of {name!r} must not be empty")
        return arguments

    @model_validator(mode="after")
    def _effective(self) -> Self:
        """A rule that could never do what it says is an error."""
        if self.verdict == "allow" and self.class_ == "destructive":
            raise ValueError("cannot allow the class destructive: what destroys is asked each time")
        if self.even_when_tainted and self.verdict != "allow":
            raise ValueError("needs the verdict allow for even_when_tainted")
        if self.even_when_tainted and not self._names_one_tool():
            raise ValueError("needs 'service' and 'tool' without '*' or '?' for even_when_tainted: one tool by name")
        return self

    def pattern(self) -> str:
        """The pattern of ``service.tool`` that `service` and `tool` mean together; empty for all."""
        if self.service is None and self.tool is None:
            return ""
        if self.service is None and "." in str(self.tool):
            return str(self.tool)
        return f"{self.service or '*'}.{self.tool or '*'}"

    def _names_one_tool(self) -> bool:
        service, dot, tool = self.pattern().partition(".")
        return bool(dot and service and tool) and not {"*", "?"} & {*service, *tool}


class PolicySection(Section):
    """`policy`."""

    proposals: Literal["accept", "review"] = Field(
        default="accept", description="`review`: every tool whose class nobody has confirmed is asked for"
    )
    max_asks: Whole = Field(default=10, ge=1, le=100, description="a run that asks more often is stopped")
    rules: list[RuleSection] = Field(default_factory=list[RuleSection], description="")
