"""Whose turn it is, under any order of coming, leaving and withdrawing."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tom.agent.places import PendingRun, Places
from tom.conversation.run import RunState
from tom.store.eventstore import RunRow

CONVERSATIONS = st.sampled_from(["a", "b", "c", "d"])


def pending(conversation, number):
    return PendingRun(RunRow(f"r{number}", conversation, f"q{number}", "", RunState.QUEUED, 0, number, ""))


class AnyOrder(RuleBasedStateMachine):
    """At most two at work, one per conversation, in the order in which they came."""

    def __init__(self):
        super().__init__()
        self.places = Places(2)
        self.count = 0
        self.waiting = {}
        self.taken = []

    @rule(conversation=CONVERSATIONS)
    def come(self, conversation):
        self.count += 1
        run = pending(conversation, self.count)
        ahead = self.places.ahead(conversation)
        assert ahead == len(self.waiting.get(conversation, [])) + (conversation in self.places.at_work)
        self.waiting.setdefault(conversation, []).append(run)
        self.places.put(run)

    @rule()
    def take(self):
        run = self.places.take()
        able = [c for c, runs in self.waiting.items() if runs and c not in {t.row.conversation_id for t in self.taken}]
        if run is None:
            assert not able or len(self.taken) == 2, "nobody waits while there is a place"
            return
        conversation = run.row.conversation_id
        assert conversation in able
        assert self.waiting[conversation].pop(0) is run, "in the order of acceptance"
        self.taken.append(run)

    @rule(which=st.integers(0, 1))
    def leave(self, which):
        if len(self.taken) > which:
            self.places.leave(self.taken.pop(which))

    @rule(conversation=CONVERSATIONS, everything=st.booleans(), which=st.integers(0, 3))
    def withdraw(self, conversation, everything, which):
        runs = self.waiting.get(conversation, [])
        if everything:
            assert self.places.withdraw(conversation) == runs
            self.waiting[conversation] = []
        elif len(runs) > which:
            wanted = runs.pop(which)
            assert self.places.withdraw(conversation, wanted.row.id) == [wanted]

    @rule(conversation=CONVERSATIONS)
    def come_first(self, conversation):
        self.count += 1
        run = pending(conversation, self.count)
        self.waiting.setdefault(conversation, []).insert(0, run)
        self.places.put(run, first=True)

    @invariant()
    def the_count_is_right(self):
        assert len(self.places) == len(self.taken) + sum(map(len, self.waiting.values()))
        assert list(self.places.at_work.values()).sort(key=id) == self.taken.copy().sort(key=id)
        assert len(self.taken) <= 2


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
