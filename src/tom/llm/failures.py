"""What goes wrong at a provider, as Tom's own errors, in words that give nothing away.

A provider's own text may be shown, but never with a key, an address or the provider's name in it.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import msgspec

from tom.errors import (
    ProviderBadRequest,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
)

MAX_SHOWN = 300
"""Characters of a provider's own text that are shown."""

_VENDORS = [
    "openai",
    "openrouter",
    "groq",
    "anthropic",
    "claude",
    "gemini",
    "google",
    "mistral",
    "deepseek",
    "ollama",
    "azure",
    "together",
    "fireworks",
    "cerebras",
    "perplexity",
    "huggingface",
    "vllm",
    "llama.cpp",
    "litellm",
    "chatgpt",
]
_ADDRESS = re.compile(
    r"""[a-z][a-z0-9+.-]*://[^\s"'<>]+"""
    r"""|\b(?:[a-z0-9-]+\.)+(?:com|org|net|ai|io|dev|app|cloud|local|internal|lan)\b[^\s"'<>]*"""
    r"""|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\blocalhost(?::\d+)?\b""",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"\bbearer\s+\S+|\b(?:sk|pk|gsk|xai|hf|org|proj|req|key|AIza)[-_A-Za-z0-9*.…]{6,}"
    r"|(?=[A-Za-z0-9_*-]*[0-9*])[A-Za-z0-9_*-]{20,}",
    re.IGNORECASE,
)


class Veil:
    """Takes keys, addresses and the provider's name out of a text."""

    __slots__ = ("_names", "_secrets")

    def __init__(self, secrets: Iterable[str], names: Iterable[str]) -> None:
        """``secrets`` of six characters and more are taken out wherever they stand, ``names`` as whole words in any case."""
        self._secrets = tuple(sorted((secret for secret in secrets if len(secret) >= 6), key=len, reverse=True))
        words = "|".join(re.escape(name) for name in sorted({*names, *_VENDORS}, key=len, reverse=True) if name)
        self._names = re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", re.IGNORECASE)

    def cover(self, text: str) -> str:
        """The text on one line, at most `MAX_SHOWN` characters, without what must not be shown."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _KEY.sub("***", _ADDRESS.sub("[address]", text))
        text = self._names.sub("the provider", text)
        text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def failure_of(status: int, headers: Mapping[str, str], body: bytes, veil: Veil, now: datetime) -> ProviderError:
    """The error for an answer with HTTP ``status`` other than 200. ``now`` is aware; it dates a Retry-After."""
    error = _error_in(body)
    details: dict[str, Any] = {"status": status}
    wait = retry_after(headers, now)
    if wait is not None:
        details["retry_after"] = wait
    return _typed(status, error, veil, details)


def failure_in(error: Any, veil: Veil) -> ProviderError:
    """The error for an ``error`` object inside an answer that began with status 200."""
    fields = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    code = fields.get("code") or fields.get("type") or fields.get("status") or ""
    return _typed(_status_of(str(code)), fields, veil, {})


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, from ``Retry-After-Ms`` or ``Retry-After`` (seconds or an HTTP date); None without either."""
    for name, unit in (("Retry-After-Ms", 1000), ("Retry-After", 1)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value) / unit
    try:
        moment = parsedate_to_datetime(headers.get("Retry-After", ""))
    except (ValueError, IndexError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _typed(status: int, error: Mapping[str, Any], veil: Veil, details: dict[str, Any]) -> ProviderError:
    if 300 <= status < 400:
        return ProviderRefused("The language model's address points elsewhere; set the final one.", **details)
    kind = _kind(status, error)
    if status in {401, 403}:  # these answers quote keys and accounts
        return kind(**details)
    parameter = error.get("param")
    if isinstance(parameter, str) and re.fullmatch(r"[a-z][a-z_.]{0,40}", parameter):
        details["parameter"] = parameter
    said = _shown(error, veil)
    return kind(f"{kind().message.removesuffix('.')}: {said}" if said else None, **details)


def _kind(status: int, error: Mapping[str, Any]) -> type[ProviderError]:
    """The class of error for an HTTP status. Being out of credit does not pass by waiting."""
    if status == 429 and "insufficient_quota" not in (error.get("code"), error.get("type")):
        return ProviderRateLimited
    if status in {401, 402, 403, 404, 429}:
        return ProviderRefused
    if status == 408 or status >= 500:
        return ProviderError
    return ProviderBadRequest


def _shown(error: Mapping[str, Any], veil: Veil) -> str:
    message = error.get("message") or error.get("detail")
    if message and not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return veil.cover(message) if message else ""


def _error_in(body: bytes) -> Mapping[str, Any]:
    """The error object of a JSON body: ``{"error": {…}}``, ``{"error": "…"}`` or the fields themselves."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        return {}
    if isinstance(answer, list) and answer:  # Gemini
        answer = cast("list[Any]", answer)[0]
    if not isinstance(answer, dict):
        return {}
    fields = cast("dict[str, Any]", answer)
    error = fields.get("error", fields)
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}


def _status_of(code: str) -> int:
    """The HTTP status that an error's code or type stands for."""
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code)
    for part, status in (
        ("insufficient_quota", 402),
        ("rate_limit", 429),
        ("api_key", 401),
        ("authentication", 401),
        ("permission", 403),
        ("not_found", 404),
        ("invalid_request", 400),
        ("overloaded", 529),
        ("billing", 402),
        ("context_length", 400),
    ):
        if part in code.lower():
            return status
    return 502
