"""One session with the chat API: create it, send one message, print the reply and what it used, delete it.

Needs nothing but Python. Settings are environment variables:

    CHAT_API_URL               where the API answers                    http://localhost:8000
    CHAT_API_TOKEN             sent as `Authorization: Bearer …`         none
    CHAT_USER_MESSAGE          what is said                              Hello there!
    CHAT_MESSAGE_ROLE          in which role                             user
    CHAT_MEMORY_LIMIT          messages the session remembers            the server's
    CHAT_MESSAGE_MEMORY_LIMIT  the same for this message only            the session's
    CHAT_SESSION_METADATA      a JSON object kept with the session       {}
    CHAT_MESSAGE_OPTIONS       a JSON object: temperature, level, …      {}
    CHAT_REQUEST_TIMEOUT       seconds without an answer                 30

Exit status: 0 done, 1 the API failed, 2 a setting is wrong (then nothing has been sent).
"""

import http.client
import json
import math
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class SettingWrong(Exception):
    """A variable says something that cannot be."""


class ApiFailed(Exception):
    """The API refused, or did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        """``status`` is that of HTTP, 0 where there was no answer."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Settings:
    """What the variables say."""

    url: str
    token: str
    message: str
    role: str
    memory_limit: int | None
    message_memory_limit: int | None
    metadata: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    timeout: float = 30.0


def read_settings(variables: Mapping[str, str]) -> Settings:
    """All of them; `SettingWrong` with one line for each that is wrong."""
    wrong: list[str] = []

    def read(kind: Any, name: str, default: Any) -> Any:
        text = variables.get(name, "").strip()
        try:
            return kind(name, text) if text else default
        except SettingWrong as error:
            wrong.append(str(error))
            return default

    settings = Settings(
        url=read(web_url, "CHAT_API_URL", "http://localhost:8000"),
        token=read(token, "CHAT_API_TOKEN", ""),
        message=variables.get("CHAT_USER_MESSAGE", "") or "Hello there!",
        role=variables.get("CHAT_MESSAGE_ROLE", "").strip() or "user",
        memory_limit=read(integer, "CHAT_MEMORY_LIMIT", None),
        message_memory_limit=read(integer, "CHAT_MESSAGE_MEMORY_LIMIT", None),
        metadata=read(json_object, "CHAT_SESSION_METADATA", {}),
        options=read(json_object, "CHAT_MESSAGE_OPTIONS", {}),
        timeout=read(seconds, "CHAT_REQUEST_TIMEOUT", 30.0),
    )
    if wrong:
        raise SettingWrong("\n".join(wrong))
    return settings


def web_url(name: str, text: str) -> str:
    """An address without the slash at its end."""
    if not text.startswith(("http://", "https://")):
        message = f"{name} must be an http or https URL"
        raise SettingWrong(message)
    return text.rstrip("/")


def token(name: str, text: str) -> str:
    """What may stand in a header."""
    if not text.isascii() or not text.isprintable():
        message = f"{name} must be one line of ASCII"
        raise SettingWrong(message)
    return text


def integer(name: str, text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        message = f"{name} must be an integer"
        raise SettingWrong(message) from None


def seconds(name: str, text: str) -> float:
    """A length of time."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        message = f"{name} must be numeric"
        raise SettingWrong(message)
    if number <= 0:
        message = f"{name} must be greater than 0"
        raise SettingWrong(message)
    return number


def json_object(name: str, text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        message = f"{name} must be valid JSON"
        raise SettingWrong(message) from None
    if not isinstance(value, dict):
        message = f"{name} must decode to a JSON object"
        raise SettingWrong(message)
    return value


def refuse(constant: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(constant)


class Api:
    """The chat API, as far as this example goes."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` say where it answers."""
        self._settings = settings

    def create(self) -> str:
        """A new session; its id."""
        body: dict[str, Any] = {"metadata": self._settings.metadata}
        if self._settings.memory_limit is not None:
            body["memory_limit"] = self._settings.memory_limit
        made = self._ask("POST", "/sessions", body)
        if not isinstance(made.get("id"), str):
            message = "POST /sessions: the answer has no id"
            raise ApiFailed(message)
        return made["id"]

    def send(self, session: str) -> dict[str, Any]:
        """The answer to the message; without ``message`` in it, the reply is not there yet."""
        settings = self._settings
        body: dict[str, Any] = {"content": settings.message, "role": settings.role}
        if settings.message_memory_limit is not None:
            body["memory_limit"] = settings.message_memory_limit
        if settings.options:
            body["options"] = settings.options
        return self._ask("POST", f"/sessions/{session}/messages", body)

    def delete(self, session: str) -> None:
        """Delete a session; it may be gone already."""
        try:
            self._ask("DELETE", f"/sessions/{session}")
        except ApiFailed as failure:
            if failure.status != 404:
                raise

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._settings.token:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._settings.url + path, sent, headers, method=method)  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=self._settings.timeout) as answer:  # noqa: S310 - likewise
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                message = f"{method} {path}: {error.code} {explained(error.read())}"
            raise ApiFailed(message, error.code) from None
        except (OSError, http.client.HTTPException) as error:
            message = f"{method} {path}: no answer from {self._settings.url}: {getattr(error, 'reason', error)}"
            raise ApiFailed(message) from None
        try:
            answered = json.loads(text or b"{}")
        except ValueError:
            answered = None
        if not isinstance(answered, dict):
            message = f"{method} {path}: the answer is no JSON object"
            raise ApiFailed(message)
        return answered


def explained(body: bytes) -> str:
    """What an error's body says, in one line."""
    try:
        told = json.loads(body)
        error, request = told["error"], told.get("request_id")
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
    if isinstance(error, dict):
        line = f"{error.get('code')}: {error.get('message')}"
    else:
        line = f"{error}, try again in {told.get('retry_after')} s"
    return line + (f" (request {request})" if request else "")


def show(answer: dict[str, Any]) -> None:
    """Print the reply and what it used."""
    if "message" not in answer:
        print(f"No reply yet: the run {answer.get('run_id')} is {answer.get('status')}.")
        return
    print(answer["message"]["content"])
    print(f"Usage: {json.dumps(answer.get('usage'))}")


def main() -> int:
    """Do it; returns the exit status."""
    try:
        api = Api(read_settings(os.environ))
    except SettingWrong as error:
        print(error, file=sys.stderr)
        return 2
    status, session = 0, ""
    try:
        session = api.create()
        show(api.send(session))
    except ApiFailed as failure:
        print(failure, file=sys.stderr)
        status = 1
    finally:
        if session:
            try:
                api.delete(session)
            except ApiFailed as failure:
                print(failure, file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
