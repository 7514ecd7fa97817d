"""Files and classes are named by the words of docs/glossary.md, never by those it bans."""

import ast
import re
from pathlib import PurePosixPath

BANNED = {
    *("manager", "helper", "util", "utils", "utility", "common", "misc", "core", "base", "handler", "processor"),
    *("engine", "data", "info", "object", "action", "plugin", "job", "session", "context", "step"),
}
ALLOWED = {
    "UnknownAction": "the WebSocket's envelope has a field of that name",
    "ActionRate": "the WebSocket's envelope has a field of that name",
    "actions": "the WebSocket's envelope has a field of that name",
}
"""Names that a door's contract gives. The list may only shrink."""

BARE_ONLY = {"session", "context", "step"}
"""Banned only when they are the whole name."""


def words_of(name: str) -> list[str]:
    """``HTTPRequestError`` and ``http_request_error`` are the same three words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.replace("_", " ").replace("-", " "))
    return spaced.lower().split()


def offending(name: str) -> set[str]:
    words = words_of(name)
    found = {word for word in words if word in BANNED or word.removesuffix("s") in BANNED}
    return set() if name in ALLOWED or (len(words) > 1 and found <= BARE_ONLY) else found


def test_no_file_or_folder_has_a_banned_name(tree):
    names = {
        part for path in tree.below("src", "tests", "scripts", "bench", "web") for part in PurePosixPath(path).parts
    }
    wrong = {name: words for name in names if (words := offending(name.split(".")[0].removeprefix("test_")))}
    assert not wrong


def test_no_class_has_a_banned_name(tree):
    wrong = {
        f"{source.path}: {node.name}": words
        for source in tree.python("src", "tests", "scripts", "bench")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and (words := offending(node.name.strip("_")))
    }
    assert not wrong


def test_the_rule_finds_what_it_bans():
    assert offending("RunManager") == {"manager"}
    assert offending("string_utils") == {"utils"}
    assert offending("Session") == {"session"}
    assert offending("Context") == {"context"}
    assert not offending("ContextTooSmall")
    assert not offending("MetadataTooLarge")


def test_the_glossary_has_every_banned_word(tree):
    text = tree.read("docs/glossary.md")
    assert not [word for word in BANNED - {"utils", "utility", "step"} if word not in text]
