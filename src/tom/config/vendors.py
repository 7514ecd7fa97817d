"""Asking vendors which models they have: only for the first config.yml and for `tom config adopt`."""

import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from tom.config.providers import KnownProvider
from tom.config.secret import Secret

type Ask = Callable[[KnownProvider, str, Secret], list[str] | None]

_TIMEOUT = 2.0
_LIMIT = 8 * 1_048_576
_NOT_CHAT = ("embed", "whisper", "tts", "audio", "image", "vision", "moderation", "guard", "rerank", "ocr", "realtime")


def list_models(provider: KnownProvider, base_url: str, key: Secret) -> list[str] | None:
    """The names of the vendor's model list, when it answers within 2 s; else None."""
    path = "/v1/models?limit=1000" if provider.name == "anthropic" else "/models"
    request = urllib.request.Request(f"{base_url}{path}", headers=_headers(provider, key))  # noqa: S310 - an http URL, see `web_url`
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            listed = json.loads(answer.read(_LIMIT))
    except (OSError, ValueError, urllib.error.URLError):
        return None
    entries = cast("dict[str, Any]", listed).get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        return None
    names = [cast("dict[str, Any]", entry).get("id") for entry in cast("list[Any]", entries) if isinstance(entry, dict)]
    return [name.removeprefix("models/") for name in names if isinstance(name, str)]


def ask_all(
    wanted: Iterable[tuple[KnownProvider, str, Secret]], ask: Ask = list_models, timeout: float = _TIMEOUT
) -> Mapping[str, list[str]]:
    """Ask several vendors at once; who has not answered after ``timeout`` seconds is left out."""
    answers: queue.Queue[tuple[str, list[str] | None]] = queue.Queue()

    def put(provider: KnownProvider, base_url: str, key: Secret) -> None:
        answers.put((provider.name, ask(provider, base_url, key)))

    questions = [threading.Thread(target=put, args=one, daemon=True) for one in wanted]
    for question in questions:
        question.start()
    deadline = time.monotonic() + timeout
    found: dict[str, list[str]] = {}
    for _ in questions:
        try:
            name, models = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if models is not None:
            found[name] = models
    return found


def choose_models(provider: KnownProvider, listed: list[str] | None) -> tuple[str, str, str]:
    """The usual models, or for those that the vendor does not list the first of the same family that it does."""
    first, second, third = (
        _choose(usual, family, listed) for usual, family in zip(provider.models, provider.families, strict=True)
    )
    return first, second, third


def _choose(usual: str, family: str, listed: list[str] | None) -> str:
    if not listed or usual in listed:
        return usual
    chat = [name for name in listed if not any(word in name.lower() for word in _NOT_CHAT)] or listed
    return next((name for name in chat if family in name), chat[0])


def _headers(provider: KnownProvider, key: Secret) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "tom"}
    if provider.name == "anthropic":
        return {**headers, "x-api-key": key.reveal(), "anthropic-version": "2023-06-01"}
    return {**headers, "Authorization": f"Bearer {key.reveal()}"} if key else headers
