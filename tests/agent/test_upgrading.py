"""Files of the version before the chat doors are opened by this one: everything is there, and goes on where it stopped.

The files in ``cases/previous`` were written by that version: a conversation with calls, one that waits for a yes, one that
failed, one that was stopped in the middle of a reply with a message queued behind it; pins, lists, a behaviour; a login.
"""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tom.accounts.accounts import Accounts
from tom.accounts.tokens import read_wish
from tom.accounts.users import UserEntry
from tom.config.secret import Secret
from tom.conversation.tool import ToolClass
from tom.services.behaviours import SqliteBehaviours
from tom.services.keptfile import ServicesFile, SqliteKept
from tom.services.memory import MemoryToolbox
from tom.store.eventstore import RunFilter
from tom.store.outbox import Kind, MirrorRules
from tom.store.sqlite import SqliteEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parent / "cases" / "previous"
COOKIE = "hb_vwuAMofGQl5eZpo84O8AxApmNfq451wEgN9yERu0"  # a login of the file, to nothing


@pytest.fixture
def previous(tmp_path):
    """``previous(name)``: the file of that version, ready to be opened."""

    def write(name):
        path = tmp_path / f"{name}.db"
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute((CASES / f"{name}.sql").read_text())
        return path

    return write


class Post:
    """The service of that version; ``sent`` is what it sent now."""

    def __init__(self):
        self.toolbox = MemoryToolbox()
        self.sent = []
        to = {"type": "object", "properties": {"to": {"type": "string"}}}
        self.toolbox.add(self.send_mail, service="post", parameters=to, tool_class=ToolClass.WRITE_EXTERNAL)

    async def send_mail(self, **arguments):
        self.sent.append(arguments)
        return "sent"


async def states(store):
    return [(run.conversation_id, run.request_id, str(run.state)) for run in await store.runs(RunFilter())]


async def spoken(store, conversation):
    return [
        event.content for event in await store.read(conversation) if event.type == "model.replied" and event.content
    ]


@pytest.mark.promise("P5")
async def test_a_history_goes_on_where_the_previous_version_stopped(open_cell, previous, llm, until):
    clock, post = ManualClock(), Post()
    store = await SqliteEventStore.open(previous("history"), clock=clock)
    try:
        assert await states(store) == [
            ("c-done", "q1", "completed"),
            ("c-asks", "q2", "waiting"),
            ("c-failed", "q3", "failed"),
            ("c-cut", "q4", "running"),
            ("c-cut", "q5", "queued"),
        ]
        assert await spoken(store, "c-done") == ["I found a tent."]
        found = await store.conversations(matching="tent")
        assert [row.id for row in found] == ["c-done"]
        llm.reply(Script.text("One, two."), Script.text("Three."), Script.text("Bob knows."))
        async with open_cell(toolbox=post.toolbox, services=["post"], store=store, clock=clock) as cell:
            await until(lambda: not cell.scheduler.active_runs)
            assert (await spoken(store, "c-cut"))[-2:] == ["One, two.", "Three."]
            (ask,) = await cell.approvals.pending()
            assert (ask["conversation_id"], ask["arguments"], post.sent) == ("c-asks", {"to": "bob"}, [])
            await cell.approvals.decide(ask["approval_id"], "allow", digest=ask["arguments_digest"], by="alice")
            await until(lambda: post.sent)
            await until(lambda: not cell.scheduler.active_runs)
        assert post.sent == [{"to": "bob"}]
        assert await spoken(store, "c-asks") == ["Bob knows."]
        assert [state for _, _, state in await states(store)] == [
            "completed",
            "completed",
            "failed",
            *["completed"] * 2,
        ]
        assert await store.due() == (), "without an archive nothing is told to one"
    finally:
        await store.close()


async def test_an_archive_of_this_version_is_told_what_was_completed_and_no_more(previous):
    store = await SqliteEventStore.open(previous("history"), clock=ManualClock(), mirror=MirrorRules(place="here"))
    try:
        await store.refill()
        told = await store.due()
        assert [entry.conversation_id for entry in told if entry.kind == Kind.EXCHANGE] == ["c-done"]
        (exchange,) = [entry for entry in told if entry.kind == Kind.EXCHANGE]
        assert [event.content for event in exchange.events] == ["Find a tent", "I found a tent."]
    finally:
        await store.close()


async def test_what_services_are_remembered_by_is_kept(previous):
    clock = ManualClock()
    file = ServicesFile(previous("services"), clock)
    kept = SqliteKept(file)
    try:
        remembered = await kept.load()
        assert remembered.pins["post"]["send_mail"].reviewed_by == "alice"
        assert remembered.pins["post"]["send_mail"].tool_class is ToolClass.WRITE_EXTERNAL
        assert remembered.lists["post"].tools == ('{"name":"send_mail"}',)
        assert remembered.readings == {"post": {"instructions": "Mail of the house."}}
        assert await SqliteBehaviours(file, clock).current() == {"tone": "Speak plainly."}
    finally:
        await kept.close()


async def test_a_login_still_counts_and_the_new_tables_are_there(previous):
    clock = ManualClock()
    entries = [UserEntry("alice", password=Secret("the first password"))]
    accounts = await Accounts.open(previous("gateway"), entries, clock=clock)
    try:
        assert accounts.find(COOKIE).user == "alice"
        await accounts.log_in("alice", "the first password", address="10.0.0.1")
        _, text = await accounts.tokens.create("alice", read_wish("a script", ["chat"], 1, admin=False))
        assert accounts.find_token(text).user == "alice"
    finally:
        await accounts.close()
