"""Every row of the contract's tables that is built, from the files under cases/."""

import pytest

from tom.config.document import decode_agent, encode_agent
from tom.config.secret import Secret
from tom.config.settings import ConfigInvalid


def of(*tables):
    def mark(test):
        test.tables = tables
        return test

    return mark


def reached(root, path):
    for part in path.split("."):
        if isinstance(root, (list, tuple)):
            root = root[int(part)]
        elif isinstance(root, dict):
            root = root[part]
        else:
            root = getattr(root, part)
    return root


def plain(value):
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


@of("refused", "refused_policy")
def test_what_is_refused_is_refused_with_its_path(case, tmp_path):
    with pytest.raises(ConfigInvalid) as caught:
        case.load(tmp_path)
    assert caught.value.errors == case.entry["errors"]
    assert "canary" not in str(caught.value) + repr(caught.value)


@of("yaml")
def test_bad_yaml_is_refused_with_its_line(case, tmp_path):
    with pytest.raises(ConfigInvalid) as caught:
        case.load(tmp_path)
    assert caught.value.errors == [case.entry["error"]]


@of("accepted", "llms", "services", "policy")
def test_what_is_accepted_has_its_effect(case, tmp_path):
    settings = case.load(tmp_path)
    entry = case.entry
    for path, expected in entry.get("settings", {}).items():
        assert _same(plain(reached(settings, path)), expected, tmp_path), path
    for path, expected in entry.get("reveals", {}).items():
        assert reached(settings, path).reveal() == expected
    if "warnings" in entry:
        assert list(settings.warnings) == entry["warnings"]
    assert set(entry.get("warnings_have", [])) <= set(settings.warnings)
    if "notes" in entry:
        assert list(settings.notes) == entry["notes"]


@of("accepted", "llms", "services", "policy")
def test_the_agent_is_told_its_slice(case, tmp_path):
    settings = case.load(tmp_path)
    if settings.user("alice") is None:
        return
    agent = decode_agent(encode_agent(settings.agent("alice", Secret("canary-agent"))))
    for path, expected in case.entry.get("agent", {}).items():
        assert _same(plain(reached(agent, path)), expected, tmp_path), path
    for path, expected in case.entry.get("agent_reveals", {}).items():
        assert reached(agent, path).reveal() == expected
    assert agent.agent_secret.reveal() == "canary-agent"
    if "count" in case.entry:
        assert len(agent.services) == case.entry["count"]
    # Headers of the transport are the transport's.
    assert not {"accept", "content-type"} & {name.lower() for s in agent.services for name in s.headers}


@of("accepted", "llms", "services", "policy")
def test_no_secret_is_seen_in_what_can_be_printed(case, tmp_path):
    settings = case.load(tmp_path)
    slices = [settings.agent(user.username, Secret("canary-agent")) for user in settings.users]
    seen = repr(settings) + str(settings) + repr(settings.services) + repr(settings.template) + repr(slices)
    assert "canary" not in seen + "".join((*settings.warnings, *settings.notes))


def _same(value, expected, data_dir):
    if isinstance(expected, str):
        expected = expected.replace("{data}", str(data_dir))
        value = str(value)
    return value == expected
