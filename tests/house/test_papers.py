"""The papers are complete: dependencies, changes, decisions, promises, links, reference pages."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROMISES = {f"P{number}" for number in range(1, 27)}
ADR_PARTS = ("## Question", "## Decision", "## Because", "## Rejected", "## What it costs")
COPYLEFT = re.compile(r"AGPL|SSPL|\bGPL", re.IGNORECASE)


def declared(tree):
    """Names of all direct dependencies, of the product and of its groups."""
    project = tomllib.loads(tree.read("pyproject.toml"))
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    named = {re.split(r"[\[<>=;~! ]", line)[0] for lines in lists for line in lines}
    return named - {project["project"]["name"]}  # an extra that is made of others names the product itself


def rows(tree):
    """The table rows of dependencies.md: name in the first cell."""
    lines = tree.read("docs/explanation/dependencies.md").splitlines()
    return {
        match[1]: [cell.strip() for cell in line.strip("| ").split("|")]
        for line in lines
        if (match := re.match(r"\| `([\w.-]+)`", line))
    }


def test_every_direct_dependency_has_a_reason_and_a_licence(tree):
    found = rows(tree)
    assert declared(tree) == set(found)
    assert not [name for name, cells in found.items() if len(cells) != 4 or not all(cells)]


def test_no_dependency_of_the_product_has_a_licence_that_binds_it(tree):
    product = tomllib.loads(tree.read("pyproject.toml"))["project"]["dependencies"]
    names = {re.split(r"[\[<>=;~! ]", line)[0] for line in product}
    assert not [name for name, cells in rows(tree).items() if name in names and COPYLEFT.search(cells[3])]


def test_the_change_log_has_a_part_for_what_is_not_released(tree):
    assert re.search(r"^## Unreleased$\n+.*\S", tree.read("CHANGELOG.md"), re.MULTILINE)


def test_every_decision_has_the_same_parts_on_one_page(tree):
    records = [path for path in tree.below("docs/adr") if path.endswith(".md")]
    assert [int(Path(path).name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = tree.read(path)
        assert len(text.splitlines()) <= 60, path
        assert not [part for part in ADR_PARTS if part not in text], path


def test_every_promise_mark_names_a_promise(tree):
    marks = [
        (source.path, call)
        for source in tree.python("tests", "src/tom/testing")
        for name, call in source.calls()
        if name == "pytest.mark.promise"
    ]
    wrong = [
        path
        for path, call in marks
        if not call.args or not all(isinstance(a, ast.Constant) and a.value in PROMISES for a in call.args)
    ]
    assert not wrong


def test_every_relative_link_leads_somewhere(tree):
    wrong = []
    for path in (path for path in tree.paths if path.endswith(".md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", tree.read(path)):
            if "://" not in target and not (tree.root / path).parent.joinpath(target).exists():
                wrong.append(f"{path} -> {target}")
    assert not wrong


def test_the_reference_pages_are_what_the_sources_say(tree):
    command = [sys.executable, "scripts/reference.py", "--check"]
    result = subprocess.run(command, check=False, cwd=tree.root, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
