"""docs/reference/coming-from.md: what it says to type works, and what its table names is there."""

import re
import subprocess

import pytest

PAGE = "docs/reference/coming-from.md"
WORD = re.compile(r"`([^`]+)`")


@pytest.fixture
def commands(blocks):
    """The page's blocks: those before the agent alone, its own, and those while it runs."""
    found = [block for block in blocks(PAGE) if block.language == "bash"]
    place = next(number for number, block in enumerate(found) if block.note)
    return found[:place], found[place], found[place + 1 :]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_blocks_of_the_page_run_in_order(commands, shell, started):
    before, alone, after = commands
    shell.data.mkdir(mode=0o700)
    replies = [shell.run(block.text) for block in before]
    assert "rate_burst = 7" in "".join(replies)
    with started(shell, alone) as log:
        replies = [shell.run(block.text) for block in after]
        said = log.read_text()
    assert "./run.sh starts gateway and agents, with logins" in said, "the other way is named"
    assert f"ws://localhost:{shell.port}/ws/chat" in said
    assert "Usage: " in replies[0]
    assert "passed" in replies[-1]


def test_what_the_table_names_is_there(repository):
    rows = [line for line in (repository / PAGE).read_text().splitlines() if line.startswith("| ")]
    words = [word for row in rows for said in WORD.findall(row.split("|")[2]) for word in said.split()]
    paths = {word for word in words if re.fullmatch(r"(\./|deploy/|examples/)[a-z_./]+", word)}
    assert paths == {"./run_tests.sh", "./run.sh", "examples/config/", "deploy/chat.compose.yml"}
    assert all((repository / path).exists() for path in paths)


@pytest.mark.parametrize(
    "command", [("config", "example", "--help"), ("config", "explain", "--help"), ("agent", "--help")]
)
def test_every_command_of_the_table_is_known(command, shell):
    assert shell.run(f".venv/bin/tom {' '.join(command)}")


def test_the_environment_can_be_set_up_with_uv_alone(repository, tmp_path):
    """What `uv sync` would do is nothing: the lock file and the project agree."""
    uv = next((str(path) for path in (repository / ".tools/uv/bin/uv",) if path.exists()), "uv")
    command = [uv, "sync", "--locked", "--dry-run", "--offline", "--project", str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_real_settings_are_ignored_by_git(repository):
    names = [".env", "app.config.yaml", "app.config.yml", "data/config.yml", "config/app.config.yaml"]
    done = subprocess.run(
        ["git", "check-ignore", *names], cwd=repository, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.split() == names
