"""A file is at most 500 lines and a function at most 60; the habit is 400 and 40."""

import ast

FILE_LINES = 500
FUNCTION_LINES = 60
LARGER_FILES: dict[str, int] = {}
LARGER_FUNCTIONS: dict[str, int] = {}
"""Named exceptions with their size. The lists may only shrink, and an entry may not grow."""

FOLDERS = ("src", "tests", "scripts", "bench", "examples")


def functions(source):
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{source.path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def beyond(sizes, limit, exceptions):
    wrong = {name: size for name, size in sizes.items() if size > exceptions.get(name, limit)}
    stale = {name: size for name, size in exceptions.items() if sizes.get(name, 0) <= limit}
    return wrong, stale


def test_no_file_is_longer_than_500_lines(tree):
    paths = [path for folder in FOLDERS for path in tree.below(folder) if path.endswith((".py", ".js"))]
    wrong, stale = beyond({path: tree.read(path).count("\n") for path in paths}, FILE_LINES, LARGER_FILES)
    assert not wrong, f"split these: {wrong}"
    assert not stale, f"these are small again, take them off the list: {stale}"


def test_no_function_is_longer_than_60_lines(tree):
    sizes = {name: size for source in tree.python(*FOLDERS) for name, size in functions(source)}
    wrong, stale = beyond(sizes, FUNCTION_LINES, LARGER_FUNCTIONS)
    assert not wrong, f"split these: {wrong}"
    assert not stale, f"these are small again, take them off the list: {stale}"
