"""The finder looks where Pythons are, and takes the first that fits."""

import os
import subprocess
import sys

import pytest


def find(repository, **environment):
    command = [str(repository / "scripts" / "find_python.sh")]
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment}
    return subprocess.run(command, check=False, env=clean, capture_output=True, text=True, timeout=30)


@pytest.fixture
def interpreter(tmp_path):
    """``interpreter(folder, version)``: a program that passes for a Python of that version."""

    def make(folder, name="python3", *, fits=True):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'#!/bin/sh\ncase "$3" in *_base_executable*) echo {path};; *) exit {0 if fits else 1};; esac\n'
        )
        path.chmod(0o755)
        return path

    return make


def test_the_named_python_comes_first(repository, interpreter):
    named, other = interpreter("named"), interpreter("other")
    found = find(repository, TOM_PYTHON=str(named), PATH=f"{other.parent}:/usr/bin:/bin")
    assert found.stdout.strip() == str(named)


def test_a_named_python_that_is_too_old_is_passed_over(repository, interpreter):
    named, other = interpreter("named", fits=False), interpreter("other")
    found = find(repository, TOM_PYTHON=str(named), PATH=f"{other.parent}:/usr/bin:/bin")
    assert found.stdout.strip() == str(other)


def test_newer_names_on_the_path_come_before_python3(repository, interpreter):
    old, new = interpreter("bin", "python3"), interpreter("bin", "python3.14")
    assert find(repository, PATH=f"{old.parent}:/usr/bin:/bin").stdout.strip() == str(new)


def test_a_version_managers_folder_is_searched_without_its_shims_and_without_a_home(repository, interpreter):
    interpreter("versions/3.12.1/bin")
    fitting = interpreter("versions/3.13.0/bin")
    old = interpreter("bin", "python3", fits=False)
    root = fitting.parents[3]
    assert find(repository, PYENV_ROOT=str(root), PATH=f"{old.parent}:/usr/bin:/bin").stdout.strip() == str(fitting)


def test_the_folder_of_uv_is_searched(repository, interpreter):
    fitting = interpreter("uv/cpython-3.13/bin")
    folder = fitting.parents[2]
    found = find(
        repository, UV_PYTHON_INSTALL_DIR=str(folder), PATH=f"{interpreter('bin', fits=False).parent}:/usr/bin:/bin"
    )
    assert found.returncode == 0


def test_what_is_found_runs_tom(repository):
    found = find(repository, TOM_PYTHON=sys.executable, PATH=os.environ["PATH"])
    version = subprocess.run(
        [found.stdout.strip(), "-c", "import sys; print(sys.version_info >= (3, 13))"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert version.stdout == "True\n"
