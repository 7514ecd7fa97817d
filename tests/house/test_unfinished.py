"""Nothing unfinished, skipped or sleeping; nothing that only this or that machine has."""

import ast
import re

# Written in pieces, so that this file does not find itself.
UNFINISHED = "|".join([
    "TO" + "DO", "FIX" + "ME", "X" + "XX", "Not" + "ImplementedError", "coming " + "soon",
    r"pytest\." + r"skip\(", r"pytest\.mark\." + "skip", "x" + r"fail\b", "assert " + r"True\b",
    r"importor" + "skip", r"unittest\." + "mock", "Magic" + "Mock",
])  # fmt: skip
MACHINE = (
    r"(?<![\w.])/(?:wo" + r"rk|fa" + r"rm|r" + r"oot)/[a-z.]|/tmp/(?:stud" + "io|bash_" + r"jobs)|\.\./sha" + "red/"
)
NOBODY_WAITS_SO_LONG = 60
POLL = 0.1
BREATH = 0.01
SLEEPS = {"asyncio.sleep", "anyio.sleep", "trio.sleep", "time." + "sleep"}


def hits(tree, pattern, paths):
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(tree.read(path).splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_nothing_is_unfinished_skipped_or_mocked(tree):
    paths = [path for path in tree.below("src", "tests", "scripts", "bench") if path.endswith((".py", ".js", ".sh"))]
    assert not hits(tree, UNFINISHED, [path for path in paths if path != "pyproject.toml"])


def test_no_file_names_a_path_of_a_machine(tree):
    assert not hits(tree, MACHINE, tree.texts())


def test_no_test_sleeps(tree):
    """A wait polls its condition in a loop, briefly, or takes a breath before it tries again; a fake that never answers sleeps a minute or more."""
    wrong = []
    for source in tree.python("tests"):
        loops = {
            call
            for loop in ast.walk(source.tree)
            if isinstance(loop, ast.While | ast.For | ast.AsyncFor)
            for call in ast.walk(loop)
        }
        for name, call in source.calls():
            if name in SLEEPS and not harmless(call, polling=call in loops):
                wrong.append(f"{source.path}:{call.lineno}")
    assert not wrong


def harmless(call: ast.Call, *, polling: bool) -> bool:
    length = call.args[0] if call.args else None
    if not isinstance(length, ast.Constant):
        return polling
    return length.value <= BREATH or length.value >= NOBODY_WAITS_SO_LONG or (polling and length.value <= POLL)
