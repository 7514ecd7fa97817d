"""The page about OpenAI clients: its blocks run, in their order, against an agent alone."""

import json
import os
import subprocess

import pytest

PAGE = "docs/howto/use-openai-clients.md"


def of_the_page(blocks, language="bash"):
    return [block for block in blocks(PAGE) if block.language == language]


@pytest.mark.slow
def test_a_token_is_made_and_shown(blocks, shell):
    token, *_ = of_the_page(blocks)
    shell.run(".venv/bin/tom config init --data ./data --user alice")
    assert shell.run(token.text).startswith("tom_")


@pytest.mark.slow
def test_the_scripts_of_the_page_talk_to_the_agent_of_the_page(blocks, shell, started):
    _, start, *scripts = of_the_page(blocks)
    assert len(scripts) == 2
    with started(shell, start):
        first, second = [shell.run(script.text) for script in scripts]
        listed = shell.run("curl -sf http://localhost:8000/sessions")
    assert first.startswith("['tom', 'tom-0', 'tom-1', 'tom-2'")
    assert "built-in script" in first
    assert second.strip()
    assert [session["id"] for session in json.loads(listed)["sessions"]] == ["from-a-script"]


@pytest.mark.services
def test_the_program_of_the_page_is_configured_as_it_says(blocks, shell, started, tmp_path, repository):
    subprocess.run([repository / "scripts/provision_llm.sh"], check=True, timeout=300)
    (entry,) = of_the_page(blocks, "yaml")
    home = tmp_path / "llm"
    home.mkdir()
    (home / "extra-openai-models.yaml").write_text(shell.adapted(entry.text))
    _, start, *_ = of_the_page(blocks)
    with started(shell, start):
        told = subprocess.run(
            [repository / ".tools/llm/bin/llm", "-m", "tom", "Hello!"], capture_output=True, text=True, timeout=60,
            env={"PATH": os.defpath, "HOME": str(tmp_path), "LLM_USER_PATH": str(home)}, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert told.stdout.strip()
