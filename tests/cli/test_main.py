"""The command itself: help, version, exit statuses, and that it is quick."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tom.cli import directory
from tom.cli.output import Refused

COMMANDS = ("up", "gateway", "agent", "chat", "doctor", "config", "user", "health")


def test_help_names_every_command(tom):
    result = tom("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tom, command):
    result = tom(command, "--help")
    assert result.returncode == 0
    assert "usage" in result.stdout.lower()


def test_without_a_command_the_help_is_shown_as_a_wrong_usage(tom):
    result = tom()
    assert result.returncode == 2
    assert "doctor" in result.stdout + result.stderr


def test_a_mistyped_command_suggests_the_nearest(tom):
    result = tom("dcotor")
    assert result.returncode == 2
    assert "'doctor'" in result.stderr


@pytest.mark.parametrize("command", ["up", "gateway", "agent"])
def test_an_unknown_option_of_a_program_is_a_wrong_usage(tom, command):
    assert tom(command, "--no-such-option").returncode == 2


def test_the_version_is_told_to_people_and_scripts(tom):
    import tom as package

    assert tom("--version").stdout == f"tom {package.__version__}\n"
    told = json.loads(tom("--version", "--json").stdout)
    assert told["tom"] == package.__version__
    assert told["sqlite"].startswith("3.")


def test_help_and_start_import_nothing_heavy():
    program = (
        "import sys; from tom.cli.main import main; main(sys.argv[1:]); print(sorted(sys.modules), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = set(run.stderr.replace("'", "").strip("[]\n").split(", "))
    assert not loaded & {"mcp", "pydantic", "aiohttp", "uvicorn", "starlette", "apsw", "cryptography", "rich"}
    program = "import sys, tom.cli.main, tom.cli.up; print(sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(run.stdout.replace("'", "").strip("[]\n").split(", "))
    assert not loaded & {"typer", "click", "rich", "mcp", "pydantic", "aiohttp"}


def test_the_data_directory_is_found_in_order(tmp_path, monkeypatch):
    env = {"TOM_DATA": str(tmp_path / "variable"), "XDG_DATA_HOME": str(tmp_path / "xdg")}
    assert directory.locate(str(tmp_path / "given"), env) == tmp_path / "given"
    assert directory.locate(None, env) == tmp_path / "variable"
    checkout = Path(directory.tom.__file__).resolve().parents[2]
    assert directory.locate(None, {}) == checkout / "data"
    monkeypatch.setattr(directory.tom, "__file__", str(tmp_path / "lib" / "site-packages" / "tom" / "__init__.py"))
    assert directory.locate(None, {"XDG_DATA_HOME": str(tmp_path / "xdg")}) == tmp_path / "xdg" / "tom"


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "file_system", lambda _: "nfs4")
    with pytest.raises(Refused, match="network file system"):
        directory.make_private(tmp_path / "data")


def test_the_file_system_of_a_directory_is_known():
    assert directory.file_system(Path("/proc/self")) == "proc"


def test_a_directory_is_held_by_one_process_and_freed_by_its_end(tmp_path):
    assert directory.holder(tmp_path) is None
    with directory.HouseLock(tmp_path):
        assert directory.holder(tmp_path) == os.getpid()
        with pytest.raises(Refused, match=str(os.getpid())), directory.HouseLock(tmp_path):
            pass
    assert directory.holder(tmp_path) is None
