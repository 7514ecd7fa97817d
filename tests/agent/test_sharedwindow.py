"""What was said elsewhere, purely: what of it is new, and how it is told as runs that are over."""

import pytest

from tom.agent.sharedkeys import Said
from tom.agent.sharedwindow import missing, told
from tom.clock import SystemClock
from tom.store.memory import MemoryEventStore

pytestmark = pytest.mark.anyio


def said(words):
    """``u`` and ``a`` say who, the rest what."""
    return [Said("user" if word[0] == "u" else "assistant", word[1:]) for word in words.split()]


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("", "u1 a1", "u1 a1"),
        ("u1 a1", "u1 a1", ""),
        ("u1 a1", "u1 a1 u2 a2", "u2 a2"),
        ("u0 a0 u1 a1", "u1 a1 u2 a2", "u2 a2"),
        ("u1 a1", "u0 a0 u1 a1 u2 a2", "u2 a2"),
        ("u1", "u1 a1 u2 a2", "a1 u2 a2"),
        ("u1 a1 u2 a2", "u1 a1", ""),
        ("u1 a1 u2 a2", "u7 a7 u8 a8", ""),
        ("u1 a1 u3 a3", "u1 a1 u2 a2", "u2 a2"),
        ("u0 a0 u1 a1 u3 a3", "u1 a1 u2 a2 u3 a3 u2 a2", "u2 a2 u2 a2"),
        ("u1 a1 u3 a3 u2 a2", "u1 a1 u2 a2 u3 a3", ""),
        ("u1 a u3 a", "u1 a u2 a", "u2 a"),
        ("u1 a1 u1 a1", "u1 a1 u1 a1 u1 a1", ""),
    ],
)
def test_only_what_follows_what_is_known_here_is_taken_over(here, there, expected):
    assert missing(said(here), said(there)) == tuple(said(expected))


@pytest.mark.parametrize("words", ["u1 a1", "u1 u2 a2", "a1 u2 a2", "u1 a1 a2 u3", "a1", "u1"])
async def test_what_is_taken_over_is_told_in_order_by_runs_that_are_over(words):
    store = MemoryEventStore(clock=SystemClock())
    await store.append(told("c", said(words)))
    events = await store.read("c")
    spoken = [event for event in events if event.type in {"message.received", "model.replied"}]
    assert [(event.role, event.content) for event in spoken] == [one.same for one in said(words)]
    ended = [event.run_id for event in events if event.type == "run.completed"]
    assert ended == [event.run_id for event in events if event.type == "message.received"]
