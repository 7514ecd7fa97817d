"""Asking vendors which models they have: only for the first config.yml, `tom config adopt` and `tom llm`."""

import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom.config.agent import Price
from tom.config.providers import KnownProvider
from tom.config.secret import Secret

type Ask = Callable[[KnownProvider, str, Secret], list[str] | None]

_TIMEOUT = 2.0
_LIMIT = 8 * 1_048_576
_CONTEXT_KEYS = ("context_length", "context_window", "max_model_len", "max_context_length", "max_input_tokens")
_NOT_CHAT = ("embed", "whisper", "tts", "audio", "image", "vision", "moderation", "guard", "rerank", "ocr", "realtime")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a vendor's list says of a model: the size of its context (0: nothing), and its price (None: nothing)."""

    context_tokens: int = 0
    price: Price | None = None


def list_models(provider: KnownProvider, base_url: str, key: Secret) -> list[str] | None:
    """The names of the vendor's model list, when it answers within 2 s; else None."""
    facts = model_facts(provider.name, base_url, key)
    return None if facts is None else list(facts)


def model_facts(provider: str, base_url: str, key: Secret) -> dict[str, ModelFacts] | None:
    """The vendor's model list, when it answers within 2 s; else None. ``provider`` is its name, in lower case."""
    path = "/v1/models?limit=1000" if provider == "anthropic" else "/models"
    request = urllib.request.Request(f"{base_url}{path}", headers=_headers(provider, key))  # noqa: S310 - an http URL, see `web_url`
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            listed: Any = json.loads(answer.read(_LIMIT))
    except (OSError, ValueError, urllib.error.URLError):
        return None
    entries: Any = cast("dict[str, Any]", listed).get("data") if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return None
    models = [cast("dict[str, Any]", entry) for entry in cast("list[Any]", entries) if isinstance(entry, dict)]
    named = [(model["id"], model) for model in models if isinstance(model.get("id"), str)]
    return {name.removeprefix("models/"): _facts(model) for name, model in named}


def _facts(model: Mapping[str, Any]) -> ModelFacts:
    """Each vendor has its own name for the same thing; what is no number is not known."""
    size = next((model[key] for key in _CONTEXT_KEYS if isinstance(model.get(key), int)), 0)
    pricing = model.get("pricing")
    try:
        given = cast("dict[str, Any]", pricing)
        price = Price(input=float(given["prompt"]) * 1e6, output=float(given["completion"]) * 1e6)
    except (KeyError, TypeError, ValueError):
        price = None
    return ModelFacts(max(0, size), price if price is not None and min(price.input, price.output) >= 0 else None)


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


def _headers(provider: str, key: Secret) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "tom"}
    if provider == "anthropic":
        return {**headers, "x-api-key": key.reveal(), "anthropic-version": "2023-06-01"}
    return {**headers, "Authorization": f"Bearer {key.reveal()}"} if key else headers
