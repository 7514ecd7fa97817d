"""Answering asks at a terminal: y, n, e or later, never yes by default; forms field by field; addresses with their host."""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

from tom.cli import asks
from tom.cli.client import Door, Refusal

LATER: Final = "later"
_GONE: Final = frozenset({"already_answered", "expired", "approval_not_found", "elicitation_not_found"})

type Read = Callable[[str], str]
type Say = Callable[[str], None]


class EditFailed(Exception):
    """The edited arguments cannot be used; the text says why."""


class Desk(Protocol):
    """Where somebody's asks are answered: a gateway with a login, or the control socket of an agent alone."""

    def get(self, path: str) -> Any:
        """The JSON at ``path``."""
        ...

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send ``body`` and return the JSON of the answer."""
        ...


def decide(
    door: Desk,
    ask: Mapping[str, Any],
    decision: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    note: str = "",
    remember: str = "",
) -> Mapping[str, Any]:
    """Send the word on an approval; returns what was recorded. Raises `Refusal` and what a `Door` raises."""
    body: dict[str, Any] = {"decision": decision, "arguments_digest": ask["arguments_digest"]}
    body |= {"arguments": arguments} if arguments is not None else {}
    body |= {name: value for name, value in (("note", note), ("remember", remember)) if value}
    return door.post(f"/approvals/{quote(ask['approval_id'], safe='')}", body)


def edited(ask: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The arguments as the person leaves them in an editor; None when nothing was changed. Raises `EditFailed`."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    before = json.dumps(ask["arguments"], ensure_ascii=False, indent=2)
    with tempfile.TemporaryDirectory(prefix="tom-") as directory:  # only its owner may look into it
        path = Path(directory) / "arguments.json"
        path.write_text(before + "\n", "utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the person's own editor
        except (OSError, ValueError) as error:
            raise EditFailed(f"The editor '{editor}' cannot be started: {error}") from error
        if done.returncode != 0:
            raise EditFailed(f"The editor ended with status {done.returncode}")
        try:
            after = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise EditFailed(f"That is no JSON: {error}") from error
    if not isinstance(after, dict):
        raise EditFailed("The arguments are a JSON object")
    return None if after == ask["arguments"] else cast("dict[str, Any]", after)


class AtTheTerminal:
    """One person answers, line by line. ``read`` may raise EOFError or KeyboardInterrupt, which mean later."""

    def __init__(self, door: Door, read: Read, say: Say) -> None:
        """Send answers through ``door``."""
        self._door = door
        self._read = read
        self._say = say

    def settle(self, ask: Mapping[str, Any]) -> bool:
        """Show an ask and take the answer; False when it is to wait. Raises what a `Door` raises."""
        for line in asks.lines_of(ask):
            self._say(line)
        try:
            answered = self._approval(ask) if asks.is_approval(ask) else self._question(ask)
        except (EOFError, KeyboardInterrupt):
            answered = False
        except Refusal as refusal:
            self._say(f"❌ {refusal} ({refusal.code})")
            answered = refusal.code in _GONE
        if not answered:
            self._say("It waits. /approvals shows it again.")
        return answered

    # --- approvals ---------------------------------------------------------------------------------------------

    def _approval(self, ask: Mapping[str, Any]) -> bool:
        more = ", c = yes for this conversation" if ask.get("may_remember") else ""
        prompt = f"Allow it? y = yes, once{more}, n = no, e = edit, l = later: "
        while True:
            match self._read(prompt).strip().lower():
                case "y" | "yes":
                    return self._sent(decide(self._door, ask, "allow"))
                case "c" if ask.get("may_remember"):
                    return self._sent(decide(self._door, ask, "allow", remember="conversation"))
                case "n" | "no":
                    note = self._read("A word to Tom about why (or Enter): ").strip()
                    return self._sent(decide(self._door, ask, "deny", note=note[:500]))
                case "e" | "edit":
                    if self._edited(ask):
                        return True
                case "l" | "later":
                    return False
                case _:
                    self._say("Nothing happens without a clear answer.")

    def _edited(self, ask: Mapping[str, Any]) -> bool:
        try:
            arguments = edited(ask)
        except EditFailed as failure:
            self._say(f"❌ {failure}")
            return False
        if arguments is None:
            self._say("Nothing was changed.")
            return False
        for line in ["Edited arguments:", *asks.arguments_text(arguments).splitlines()]:
            self._say("  " + line)
        if self._read("Allow it with these arguments? y = yes, once: ").strip().lower() not in {"y", "yes"}:
            return False
        return self._sent(decide(self._door, ask, "allow", arguments=arguments))

    def _sent(self, recorded: Mapping[str, Any]) -> bool:
        self._say("✓ Allowed." if recorded["decision"] == "allow" else "✓ Denied.")
        return True

    # --- questions of services ---------------------------------------------------------------------------------

    def _question(self, ask: Mapping[str, Any]) -> bool:
        secret = asks.asks_for_secret(ask.get("schema") or {}) if ask["mode"] == "form" else ""
        if secret:
            self._say(
                f"⚠ It asks for '{asks.visible(secret)}'. Secrets are never given in a form; it can only be declined."
            )
        first = "o = I have opened it and agree" if ask["mode"] == "url" else "a = answer"
        prompt = f"{'' if secret else first + ', '}d = decline, c = cancel, l = later: "
        while True:
            match self._read(prompt).strip().lower():
                case "a" | "answer" if ask["mode"] == "form" and not secret:
                    if self._form(ask):
                        return True
                case "o" if ask["mode"] == "url":
                    return self._reply(ask, "accept", None)
                case "d" | "decline":
                    return self._reply(ask, "decline", None)
                case "c" | "cancel":
                    return self._reply(ask, "cancel", None)
                case "l" | "later":
                    return False
                case _:
                    self._say("Nothing happens without a clear answer.")

    def _form(self, ask: Mapping[str, Any]) -> bool:
        content: dict[str, Any] = {}
        for name, field, required in asks.fields_of(ask.get("schema") or {}):
            value = self._field(name, field, required=required)
            if value is not None:
                content[name] = value
        try:
            return self._reply(ask, "accept", content)
        except Refusal as refusal:
            if refusal.code != "invalid_answer":
                raise
            self._say(f"❌ {asks.visible(str(refusal))}")
            return False

    def _field(self, name: str, field: Mapping[str, Any], *, required: bool) -> Any:
        while True:
            typed = self._read(asks.field_line(name, field, required=required) + ": ")
            try:
                return asks.read_field(typed, field, required=required)
            except asks.Misfit as misfit:
                self._say(f"❌ {asks.visible(str(misfit))}")

    def _reply(self, ask: Mapping[str, Any], outcome: str, content: Mapping[str, Any] | None) -> bool:
        body: dict[str, Any] = {"outcome": outcome} | ({"content": content} if content is not None else {})
        self._door.post(f"/elicitations/{quote(ask['elicitation_id'], safe='')}", body)
        self._say({"accept": "✓ Answered.", "decline": "✓ Declined.", "cancel": "✓ Cancelled."}[outcome])
        return True
