"""Every package says what is in it, and the layers hold."""

import subprocess
import sys
from pathlib import Path

README_LINES = 15


def packages(tree):
    return sorted({str(Path(path).parent) for path in tree.below("src/tom") if path.endswith("__init__.py")})


def test_every_package_has_a_short_readme(tree):
    top = [package for package in packages(tree) if package.count("/") == 2]
    missing = [package for package in top if f"{package}/README.md" not in tree.paths]
    assert not missing
    long = {p: lines for p in top if (lines := len(tree.read(f"{p}/README.md").strip().splitlines())) > README_LINES}
    assert not long, f"a package's README has five lines or so: {long}"


def test_architecture_names_every_package(tree):
    text = tree.read("ARCHITECTURE.md")
    assert not [
        package for package in packages(tree) if package.count("/") == 2 and f"`{Path(package).name}`" not in text
    ]


def test_imports_keep_to_the_layers(tree):
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, check=False, cwd=tree.root, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
