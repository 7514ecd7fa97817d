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
    def messages(self) -> list[dict[str, Any]]:
        """The messages as sent."""
        return self.json.get("messages", [])

    @property
    def last_role(self) -> str:
        """Who spoke last."""
        return str(self.messages[-1].get("role", "")) if self.messages else ""

    @property
    def last_user_text(self) -> str:
        """The text of the person's last message."""
        content: Any = next((said.get("content") for said in reversed(self.messages) if said.get("role") == "user"), "")
        if isinstance(content, str):
            return content
        return "".join(str(part.get("text", "")) for part in content or ())

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools on offer."""
        return [tool["function"]["name"] for tool in self.json.get("tools") or ()]
