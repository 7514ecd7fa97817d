"""The example files: generated, committed as they are, and true: with every mark taken away nothing changes."""

import re

import pytest

from tom.config.examples import DIRECTORY, env_example, yaml_example
from tom.config.settings import load_standalone
from tom.config.variables import VARIABLES


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def unmarked(text: str) -> str:
    """The text with every setting in force."""
    return re.sub(r"^( *)#(?=[A-Za-z_]+[:=])", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "made"), [(".env.example", env_example), ("app.config.example.yaml", yaml_example)])
def test_the_committed_file_is_up_to_date(repository, name, made):
    assert (repository / DIRECTORY / name).read_text() == made(), "run: python -m tom.config.examples"


def test_a_copy_changes_nothing(here):
    plain, _ = load_standalone({}, here / "data")
    (here / ".env").write_text(env_example())
    (here / "app.config.yaml").write_text(yaml_example())
    assert load_standalone({}, here / "data")[0] == plain


def test_what_it_calls_a_default_is_one(here):
    plain, _ = load_standalone({}, here / "data")
    (here / ".env").write_text(unmarked(env_example()))
    assert load_standalone({}, here / "data")[0] == plain
    (here / ".env").write_text("")
    text = re.sub(r"^ *(demo|groq): .*\n", "", unmarked(yaml_example()), flags=re.MULTILINE)
    (here / "app.config.yaml").write_text(text)
    assert load_standalone({}, here / "data")[0] == plain


def test_its_samples_are_accepted(here):
    text = yaml_example()
    for sample in re.findall(r"^ *#((?:demo|groq): \{.*)$", text, flags=re.MULTILINE):
        one = text.replace(f"#{sample}", sample)
        (here / "app.config.yaml").write_text(one)
        agent, _ = load_standalone({"GROQ_API_KEY": "k"}, here / "data")
        assert "groq" in agent.llms or [entry.name for entry in agent.services] == ["demo"]


def test_every_variable_that_is_a_key_too_is_in_both():
    for variable in VARIABLES:
        if variable.keys and variable.group:
            assert f"\n#{variable.name}=" in env_example()
            assert f"\n#{variable.keys[0]}:" in yaml_example()
