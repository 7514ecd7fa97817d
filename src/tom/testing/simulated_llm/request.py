"""What the endpoint was sent."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec


class _Wish(msgspec.Struct, gc=False):
    """The little that is needed to choose an answer."""

    model: str = "simulated"
    stream: bool = False
    stream_options: dict[str, Any] | None = None


_decode_wish = msgspec.json.Decoder(_Wish).decode


@dataclass
class ReceivedRequest:
    """One HTTP request. It is only decoded where somebody asks for its parts."""

    method: str
    path: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @cached_property
    def wish(self) -> _Wish:
        """Model, stream and stream options. Raises `msgspec.DecodeError`."""
        return _decode_wish(self.body)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @property
    def speaks_messages(self) -> bool:
        """Whether the request is one for Anthropic's messages."""
        return self.path.endswith("/messages")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages as sent."""
        return self.json.get("messages", [])

    @property
    def last_role(self) -> str:
        """Who spoke last; a message that carries nothing but results is the tools', whatever its dialect calls it."""
        if not self.messages:
            return ""
        last = self.messages[-1]
        return "tool" if _results(last) and not _text(last) else str(last.get("role", ""))

    @property
    def last_results(self) -> list[str]:
        """What the tools answered last, in the order of their calls."""
        found: list[str] = []
        for said in reversed(self.messages):
            told = [str(said.get("content", ""))] if said.get("role") == "tool" else _results(said)
            if not told:
                break
            found = told + found
        return found

    @property
    def system_text(self) -> str:
        """All instructions, wherever they stand."""
        apart: Any = self.json.get("system") or ()
        parts = [apart] if isinstance(apart, str) else [str(part.get("text", "")) for part in apart]
        parts += [_text(said) for said in self.messages if said.get("role") == "system"]
        return "\n\n".join(parts)

    @property
    def last_user_text(self) -> str:
        """The text of the person's last message."""
        asked = (said for said in reversed(self.messages) if said.get("role") == "user")
        return next((_text(said) for said in asked if _text(said) or not _results(said)), "")

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools on offer."""
        return [(tool.get("function") or tool)["name"] for tool in self.json.get("tools") or ()]


def _text(said: dict[str, Any]) -> str:
    content: Any = said.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or () if part.get("type") == "text")


def _results(said: dict[str, Any]) -> list[str]:
    """What the results in a message of Anthropic's dialect say."""
    content: Any = said.get("content")
    if isinstance(content, str):
        return []
    found = [part for part in content or () if part.get("type") == "tool_result"]
    return [part["content"] if isinstance(part["content"], str) else _text(part) for part in found]
