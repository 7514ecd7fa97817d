"""The README's blocks do what the sentence before them says."""

import re

import pytest

pytestmark = pytest.mark.slow


def test_the_blocks_of_the_readme_run_in_order(blocks, shell, started):
    first, *others, _, _ = [block for block in blocks("README.md") if block.language == "bash"]
    with started(shell, first) as log:
        said = log.read_text()
        password = re.search(r"password +(\S{12,})", said)
        assert password, "the password is printed once"
        replies = [shell.run(f"export TOM_PASSWORD={password[1]}\n{block.text}") for block in others]
        assert re.search(r"\d\d:\d\d", replies[0]), "the time server was called"
        assert '"status":"ok"' in replies[1]
        assert f":{shell.port}/" in said, "the address to open is printed"
        assert (shell.data / "config.yml").exists()
    with started(shell, first) as log:
        assert "password" not in log.read_text(), "and only once"


def test_the_agent_alone_answers_programs(blocks, shell, started):
    *_, start, ask = [block for block in blocks("README.md") if block.language == "bash"]
    with started(shell, start) as log:
        said = shell.run(ask.text)
        assert "chat.completion" in said
        assert "/ws/chat" in log.read_text()
