"""An agent's settings as one JSON document: what travels through the pipe to the agent. Secrets are in clear there.

Used by both ends. Imports neither pydantic nor YAML: an agent starts with what this module brings.
"""

from pathlib import Path
from typing import Any, cast

import msgspec

from tom.config.agent import AgentSettings
from tom.config.secret import Secret

LIMIT = 1_048_576


def encode_agent(settings: AgentSettings) -> bytes:
    """The document, secrets revealed; ValueError when it is larger than 1 MiB."""
    document = msgspec.json.encode(settings, enc_hook=_reveal)
    if len(document) > LIMIT:
        message = f"the settings of {settings.user!r} take {len(document)} bytes, more than {LIMIT}"
        raise ValueError(message)
    return document


def decode_agent(document: bytes) -> AgentSettings:
    """What `encode_agent` was given; ValueError for anything else. The error never quotes the document."""
    if len(document) > LIMIT:
        message = f"the agent's settings take {len(document)} bytes, more than {LIMIT}"
        raise ValueError(message)
    try:
        return _decoder.decode(document)
    except msgspec.DecodeError as error:
        message = f"the agent's settings cannot be read: {error}"
        raise ValueError(message) from None


def _reveal(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path):
        return str(value)
    message = f"a {type(value).__name__} cannot be sent to an agent"
    raise TypeError(message)


def _restore(kind: type, text: Any) -> Any:
    if kind is Secret:
        return Secret(cast("str", text))
    if issubclass(kind, Path):
        return Path(cast("str", text))
    message = f"unexpected type {kind.__name__}"
    raise TypeError(message)


_decoder = msgspec.json.Decoder(AgentSettings, dec_hook=_restore)
