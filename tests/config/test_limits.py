"""Limits, retention, the context and the length of replies: what the file may say, and what an agent is told."""

import pytest

from tom.config.invalid import ConfigInvalid
from tom.config.secret import Secret
from tom.config.settings import Settings


@pytest.fixture
def load(tmp_path):
    def read(text, user="bob"):
        (tmp_path / "config.yml").write_text(text)
        settings = Settings.load(tmp_path, None, {})
        return settings, settings.agent(user, Secret("s"))

    return read


PEOPLE = """
users:
  - {username: bob, groups: [kids, guests], role: admin}
  - {username: eve, groups: [kids]}
  - {username: ann}
"""


def test_the_narrowest_limit_wins(load):
    text = (
        PEOPLE
        + """
limits:
  run: {tool_calls: 50, cost: 1}
  user: {cost_per_day: 20, tokens_per_day: 1000}
  groups:
    kids: {run: {cost: 0.5}, user: {cost_per_day: 3}}
    guests: {user: {cost_per_day: 2}, run: {tokens_in: 5}}
  users:
    eve: {user: {cost_per_day: 30}}
"""
    )
    settings, bob = load(text)
    assert (bob.limits.tool_calls, bob.limits.cost_per_run, bob.limits.tokens_in) == (50, 0.5, 5)
    assert (bob.limits.cost_per_day, bob.limits.tokens_per_day, bob.limits.tokens_out) == (2, 1000, 64_000)
    assert settings.agent("eve", Secret("s")).limits.cost_per_day == 30
    assert settings.agent("ann", Secret("s")).limits.cost_per_day == 20


def test_limits_of_nobody_are_told(load):
    with pytest.raises(ConfigInvalid, match=r"limits\.users\.zoe"):
        load(PEOPLE + "limits: {users: {zoe: {}}}")
    settings, _ = load(PEOPLE + "limits: {groups: {staff: {}}}")
    assert any("limits.groups.staff" in line for line in settings.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "limits: {run: {tool_calls: 0}}",
        "limits: {run: {turns: 3}}",
        "limits: {user: {cost_per_day: -1}}",
        "chat: {service: {context: {max_tokens: 10, reserve_tokens: 10}}}",
        "chat: {service: {context: {conversation_limits: {short: 5, medium: 4}}}}",
        "chat: {service: {context: {conversation_limits: {short: 5, long: 4}}}}",
        "chat: {service: {context: {response_tokens: {long: 5, max: 4}}}}",
        "repository: {persistence: {retention_policy: forever}}",
        "repository: {persistence: {max_tokens_per_conversation: 0}}",
        "repository: {persistence: {max_messages_per_conversation: 0}}",
        "repository: {persistence: {retention_days: 0.5}}",
    ],
)
def test_what_cannot_be_is_refused(load, text):
    with pytest.raises(ConfigInvalid):
        load(PEOPLE + text)


def test_the_context_reaches_the_agent(load):
    text = """
chat:
  service:
    titles: false
    context: {max_tokens: 900, reserve_tokens: 100, preserve_recent: 0, compaction: false,
              conversation_limits: {short: 1, medium: 1, long: 2}}
"""
    chat = load(PEOPLE + text)[1].chat
    assert (chat.context_max_tokens, chat.context_reserve_tokens, chat.preserve_recent) == (900, 100, 0)
    assert (chat.compaction, chat.titles) == (False, False)


def test_retention_may_stand_in_either_place(load):
    one = "repository: {persistence: {retention_policy: token_limit, max_tokens_per_conversation: 50}}\n"
    other = "chat: {service: {repository: {persistence: {retention_policy: token_limit, max_messages_per_conversation: 7}}}}"
    kept = load(PEOPLE + one)[1].persistence
    assert (kept.retention, kept.retention_tokens, kept.retention_messages) == ("token_limit", 50, 100)
    kept = load(PEOPLE + other)[1].persistence
    assert (kept.retention, kept.retention_tokens, kept.retention_messages) == ("token_limit", 8000, 7)
    assert load(PEOPLE)[1].persistence.retention == "unlimited"
    with pytest.raises(ConfigInvalid, match=r"chat\.service\.repository"):
        load(PEOPLE + one + other.replace("token_limit", "time_based"))


def test_the_longest_reply_bounds_every_model(load):
    text = """
global:
  llm: mine
  llms:
    mine: {api: none, models: ollama/small, max_tokens: 5000}
    short: {api: none, models: ollama/small, max_tokens: 10}
    free: {api: none, models: ollama/small}
chat: {service: {context: {response_tokens: {short: 5, max: 300}}}}
"""
    llms = load(PEOPLE + text)[0].llms
    assert {name: entry.options["max_tokens"] for name, entry in llms.items()} == {
        "mine": 300,
        "short": 10,
        "free": 300,
    }
