"""However a file is spoilt, nothing of its secrets is in what people get to see."""

import copy
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tom.config.agent import LogSettings
from tom.config.secret import Secret
from tom.config.settings import ConfigInvalid, Settings
from tom.telemetry import logs

CANARY = "canary0123456789"
HASH = f"$argon2id$v=19$m=19456,t=2,p=1${CANARY}${CANARY}"
WHOLE = {
    "global": {"llm": "a", "llms": {"a": {"api": f"{CANARY}-api", "models": "openai/x", "options": {"seed": 1}}}},
    "llm": {"providers": {"groq": {"model": "m", "headers": {"X-Key": f"{CANARY}-header"}}}},
    "services": {"w": {"url": "http://h/mcp", "headers": {"Authorization": f"Bearer {CANARY}"}}},
    "mcpServers": {"c": {"command": "x", "env": {"API_KEY": f"{CANARY}-env"}}},
    "users": [
        {"username": "alice", "password": f"{CANARY}-password"},
        {"username": "bob", "password_hash": HASH, "services": {"v": {"command": "y", "env": {"K": CANARY}}}},
    ],
}
ENV = {"GROQ_API_KEY": f"{CANARY}-variable", "FROM_ENV": CANARY}


def paths(node, path=()):
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, (*path, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from paths(value, (*path, place))


ODD = st.sampled_from(
    [None, True, 7, -1.5, "", "x", "a\nb", [], {}, [1], {"enabel": CANARY}, f"{CANARY}", [CANARY], "${FROM_ENV}",
     "${NOWHERE}", "file:/nowhere", "scripted", {"x": {"y": CANARY}}]
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.sampled_from([path for path in paths(WHOLE) if path]), st.booleans(), ODD), min_size=1, max_size=4
)


def changed(tree, path, remove, value):
    for part in path[:-1]:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return
    try:
        if remove:
            del tree[path[-1]]
        elif isinstance(tree, (dict, list)):
            tree[path[-1]] = value
    except (KeyError, IndexError, TypeError):
        return


@pytest.mark.promise("P13")
@given(changes=CHANGES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_seen_however_the_file_is_spoilt(changes, tmp_path, monkeypatch):
    tree = copy.deepcopy(WHOLE)
    unmasked = False
    for path, remove, value in changes:
        changed(tree, path, remove, copy.deepcopy(value))
        # A canary that was put where no secret belongs (a model's name, an option) is not a secret.
        unmasked = unmasked or CANARY in json.dumps(value) or "FROM_ENV" in json.dumps(value)
    (tmp_path / "config.yml").write_text(json.dumps(tree))  # JSON is YAML
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    logs.configure(LogSettings(level="DEBUG", format="json"), threaded=False)
    log = logs.get("config")
    try:
        found = Settings.load(tmp_path, env=ENV)
        seen = repr(found) + repr(found.services) + "".join((*found.warnings, *found.notes))
        seen += "".join(repr(found.agent(user.username, Secret(CANARY))) for user in found.users)
        log.info("loaded", settings=found, users=found.users, services=found.services)
    except ConfigInvalid as error:
        seen = str(error) + repr(error) + repr(error.details)
        log.error("refused", error=error)
    seen += written.getvalue()
    if not unmasked:
        assert CANARY not in seen
    else:
        assert f"{CANARY}-" not in seen
