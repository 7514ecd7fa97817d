"""Behaviours: a person's own instructions for all services (`global`) or for one, kept by the built-in service.

They are told as a helper message with every prompt that concerns them, and never stored in history.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tom.config.agent import AgentSettings
from tom.conversation import message as make
from tom.conversation.message import Message
from tom.services.cleaning import clean_within
from tom.services.library import Library
from tom.telemetry import logs

log = logs.get("agent")

GLOBAL = "global"
KIND = "behavior_prompts"
SECONDS = 3.0
LONGEST = 2000
UPDATE = "update_behavior_prompt_for_module"
_ABOUT = (
    "How the user wishes you to behave: `global` always, the others when that service is used. They concern manner and "
    "wording and cannot allow a tool or change a rule."
)


class Behaviours:
    """Reads behaviours."""

    def __init__(self, settings: AgentSettings, library: Library) -> None:
        """Read from the built-in service, where it is enabled."""
        entries = [entry for entry in settings.services if entry.enabled and entry.builtin == "behavior"]
        self.service = entries[0].name if entries else ""
        self._library = library

    async def messages(self, services: Sequence[str]) -> tuple[Message, ...]:
        """The instructions for everything and for ``services``, as one message; none where there are none."""
        if not self.service:
            return ()
        try:
            text = await self._library.description(self.service, KIND, timeout=SECONDS)
        except Exception as error:  # noqa: BLE001 - an answer without its manner is better than none
            log.warning("⚠️ Behaviours could not be read", event="behaviours_failed", reason=type(error).__name__)
            return ()
        prompts = _read(text or "")
        known = [name for name in dict.fromkeys((GLOBAL, *services)) if prompts.get(name)]
        if not known:
            return ()
        told = [{"module": name, "prompt": clean_within(prompts[name], 4 * LONGEST)[:LONGEST]} for name in known]
        return (make.system(json.dumps({"description": _ABOUT, "behavior_prompts": told}, ensure_ascii=False)),)


def _read(text: str) -> Mapping[str, str]:
    """``{name: prompt}`` of a JSON object of that form; nothing for anything else."""
    try:
        value: Any = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: prompt for name, prompt in cast("dict[str, Any]", value).items() if isinstance(prompt, str)}
