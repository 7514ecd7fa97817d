"""The built-in service ``behavior``: a person's own instructions for one service, or for all.

The tools' names are those of the documented service.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tom.conversation.tool import ToolClass, ToolOutcome
from tom.services import results
from tom.services.behaviours import GLOBAL, Behaviours
from tom.services.builtin import BuiltinTool
from tom.services.cleaning import clean

NAME = "behavior"
LONGEST = 2000
"""Characters of one module's instructions."""

KIND = "behavior_prompts"
_MODULE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SHOWN_EARLIER = 5
_MODULE_FIELD = {"type": "string", "description": "Name of a service, or 'global' for all requests"}


class BehaviorService:
    """Reads and changes instructions. ``modules`` are the services that there are."""

    def __init__(self, behaviours: Behaviours, modules: Collection[str]) -> None:
        """Keep them in ``behaviours``."""
        self._behaviours = behaviours
        self._modules = frozenset(modules)

    @property
    def description(self) -> str:
        """What it is for."""
        return "Remembers how the user wants answers to be, for one service or for all ('global'), and changes it."

    @property
    def tools(self) -> Sequence[BuiltinTool]:
        """Reading, changing, undoing, listing."""
        one = {"type": "object", "properties": {"module_name": _MODULE_FIELD}, "required": ["module_name"]}
        prompt = {"type": "string", "description": f"The whole new instructions, at most {LONGEST} characters; "}
        prompt["description"] += "empty text removes them"
        change = {
            "type": "object",
            "properties": {"module_name": _MODULE_FIELD, "behavior_prompt": prompt},
            "required": ["module_name", "behavior_prompt"],
        }
        nothing: Mapping[str, Any] = {"type": "object", "properties": {}}
        read, write = ToolClass.READ_PRIVATE, ToolClass.WRITE_OWN
        told = "The user's instructions for a service, or for all requests ('global')"
        return (
            BuiltinTool("get_behavior_prompt_for_module", f"{told}, with earlier ones.", one, read, self.get, True),
            BuiltinTool(
                "update_behavior_prompt_for_module",
                f"Replace t{told[1:]}. Only when the user asks for it.",
                change,
                write,
                self.update,
                honours_key=True,
                steering=True,
            ),
            BuiltinTool(
                "undo_behavior_prompt_for_module",
                "Take back the last change of the user's instructions for a service, or for all ('global').",
                one,
                write,
                self.undo,
                honours_key=True,
                steering=True,
            ),
            BuiltinTool(
                "list_all_behavior_modules",
                "Which services the user has given instructions for, and which can have some.",
                nothing,
                read,
                self.list,
                honours_key=True,
            ),
        )

    def kinds(self) -> Sequence[str]:
        """Its descriptions."""
        return (KIND, NAME)

    async def describe(self, kind: str) -> str | None:
        """`KIND`: a JSON object of everything that holds, by module."""
        if kind == NAME:
            return self.description
        if kind != KIND:
            return None
        return json.dumps(dict(await self._behaviours.current()), ensure_ascii=False)

    async def get(self, module_name: str, *, key: str = "") -> ToolOutcome | Mapping[str, Any]:
        """What holds for a module, and what did before."""
        del key
        if not _MODULE.fullmatch(module_name):
            return self._unknown(module_name)
        history = await self._behaviours.history(module_name)
        holding = history[0] if history else None
        return {
            "module_name": module_name,
            "behavior_prompt": holding.prompt if holding else "",
            "changed_at": holding.written_at if holding else None,
            "earlier": [
                {"behavior_prompt": one.prompt, "changed_at": one.written_at} for one in history[1 : 1 + _SHOWN_EARLIER]
            ],
        }

    async def update(self, module_name: str, behavior_prompt: str, *, key: str = "") -> ToolOutcome | Mapping[str, Any]:
        """Make other instructions hold; empty: none."""
        if module_name != GLOBAL and module_name not in self._modules:
            return self._unknown(module_name)
        prompt = clean(behavior_prompt).strip()
        if len(prompt) > LONGEST:
            return results.failure(f"The instructions are longer than {LONGEST} characters; nothing was changed.")
        await self._behaviours.write(module_name, prompt, key=key)
        return {"status": "updated" if prompt else "removed", "module_name": module_name, "behavior_prompt": prompt}

    async def undo(self, module_name: str, *, key: str = "") -> ToolOutcome | Mapping[str, Any]:
        """Take the last change back."""
        if not _MODULE.fullmatch(module_name):
            return self._unknown(module_name)
        if not await self._behaviours.undo(module_name, key=key):
            return results.failure(f"There is no change of '{module_name}' to take back.")
        prompt = (await self._behaviours.current()).get(module_name, "")
        return {"status": "undone", "module_name": module_name, "behavior_prompt": prompt}

    async def list(self, *, key: str = "") -> Mapping[str, Any]:
        """Modules with instructions, and all that may have some."""
        del key
        return {
            "modules": sorted(await self._behaviours.current()),
            "available": [GLOBAL, *sorted(self._modules)],
        }

    def _unknown(self, module: str) -> ToolOutcome:
        names = ", ".join((GLOBAL, *sorted(self._modules)))
        return results.failure(f"There is no module '{clean(module)[:64]}'. Use one of: {names}")
