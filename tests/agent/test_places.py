"""Whose turn it is, under any order of coming, leaving, withdrawing, and waiting for a person."""

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
        self.resting = []
        self.woken = []

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
        held = {run.row.conversation_id for run in (*self.taken, *self.resting)}
        able = [c for c, runs in self.waiting.items() if runs and c not in held]
        if run is None:
            assert not (able or self.woken) or len(self.taken) == 2, "nobody waits while there is a place"
            return
        if self.woken:
            assert run is self.woken.pop(0), "those that were answered go first"
            self.resting.remove(run)
            self.taken.append(run)
            return
        conversation = run.row.conversation_id
        assert conversation in able
        assert self.waiting[conversation].pop(0) is run, "in the order of acceptance"
        self.taken.append(run)

    @rule(which=st.integers(0, 1))
    def leave(self, which):
        if len(self.taken) > which:
            self.places.leave(self.taken.pop(which))

    @rule(which=st.integers(0, 1))
    def rest(self, which):
        if len(self.taken) > which:
            run = self.taken.pop(which)
            self.places.rest(run)
            self.resting.append(run)

    @rule(which=st.integers(0, 3), twice=st.booleans())
    def wake(self, which, twice):
        if len(self.resting) > which:
            run = self.resting[which]
            for _ in range(1 + twice):
                self.places.wake(run)
            if run not in self.woken:
                self.woken.append(run)

    @rule(which=st.integers(0, 3))
    def leave_resting(self, which):
        if len(self.resting) > which:
            run = self.resting.pop(which)
            self.places.leave(run)
            self.woken = [other for other in self.woken if other is not run]

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
        held = [*self.taken, *self.resting]
        assert len(self.places) == len(held) + sum(map(len, self.waiting.values()))
        assert sorted(map(id, self.places.at_work.values())) == sorted(map(id, held))
        assert self.places.busy == len(self.taken) <= 2
        behind = {run.row.conversation_id for run in self.resting}
        blocked = sum(len(runs) for conversation, runs in self.waiting.items() if conversation in behind)
        assert self.places.going_on == len(self.places) - len(self.resting) - blocked


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
