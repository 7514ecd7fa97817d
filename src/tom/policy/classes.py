"""The class of a tool that nobody has classed yet.

A name that begins with a reading verb is proposed as `read_private`, everything else as `write_external`: a wrong
guess in that direction costs a question, the other one an act. A service's own annotations are not believed.
"""

import re
from collections.abc import Mapping

from tom.conversation.tool import ToolClass

READING_VERBS = frozenset({"get", "list", "search", "find", "read", "show", "describe", "count", "check", "fetch"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def class_of(tool: str, classes: Mapping[str, ToolClass]) -> ToolClass:
    """The admin's class for ``tool`` (its bare name) where ``classes`` has one, else the proposed class."""
    return classes.get(tool) or propose_class(tool)


def propose_class(tool: str) -> ToolClass:
    """Propose a class from the tool's name."""
    words = _WORD.findall(tool)
    reads = bool(words) and words[0].lower() in READING_VERBS
    return ToolClass.READ_PRIVATE if reads else ToolClass.WRITE_EXTERNAL
