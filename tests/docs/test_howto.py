"""What the how-tos say to write is understood, and what they say to run runs."""

import json

import pytest

PAGES = ("docs/howto/add-a-service.md", "docs/howto/add-a-model.md")
BEGINNING = "users:\n  - username: alice\n    password: correct horse battery\n"
SECRETS = {
    "NOTES_AUTHORIZATION": "Bearer-x",
    "OPENAI_API_KEY": "sk-0123456789abcdef0123456789abcdef",
    "ANTHROPIC_API_KEY": "sk-ant-0123456789abcdef0123456789",
}


def exported(text):
    """The secrets that a piece of configuration speaks of, as a reader would have set them."""
    return "".join(f"export {name}={value}\n" for name, value in SECRETS.items() if name in text)


def configured(shell, text):
    shell.data.mkdir(mode=0o700, exist_ok=True)
    model = "" if "global:" in text else "global:\n  llm: scripted\n"
    (shell.data / "config.yml").write_text(BEGINNING + model + text)
    (shell.data / "config.yml").chmod(0o600)


@pytest.mark.parametrize("page", PAGES)
def test_each_piece_of_configuration_is_understood_without_a_warning(page, blocks, shell):
    pieces = [block.text for block in blocks(page) if block.language == "yaml"]
    assert pieces
    for piece in pieces:
        configured(shell, piece)
        answer = json.loads(shell.run(f"{exported(piece)}.venv/bin/tom config check --data ./data --json"))
        assert answer["ok"], answer
        assert not [line for line in answer["warnings"] if "password" not in line], answer


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_the_page_succeeds(page, blocks, shell):
    piece = next(block.text for block in blocks(page) if block.language == "yaml")
    configured(shell, piece)
    commands = [block.text for block in blocks(page) if block.language == "bash"]
    assert commands
    for command in commands:
        shell.run(exported(piece) + command)
