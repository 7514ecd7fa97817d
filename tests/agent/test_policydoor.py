"""What would become of a call, told over the agent's real door."""

import asyncio
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.identify import AtThisMachine
from tom.agent.serving import make_server
from tom.config.agent import PolicyRule, PolicySettings
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.services.toolbox import ToolList

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P14")]

RULES = (
    PolicyRule(number=1, verdict="deny", groups=("kids",), tool="mail.*"),
    PolicyRule(number=2, verdict="allow", users=("alice",), tool="mail.send", arguments={"to": "*@family.example"}),
)


class Post(MemoryToolbox):
    """A post office with one tool held and one service away."""

    def __init__(self):
        super().__init__()
        for service, name in (("mail", "send"), ("mail", "get_inbox"), ("chat", "send"), ("web", "fetch")):
            self.add(self.nothing, service=service, name=name, tool_class=_class(name))
        self.set_unavailable("far", "it sleeps")

    async def nothing(self):
        return ""

    async def tools(self, services=None):
        offered = await super().tools(services)
        return ToolList(offered.tools, offered.unavailable, {"mail.burn": "changed since it was reviewed"})


def _class(name):
    return ToolClass.WRITE_EXTERNAL if name == "send" else ToolClass.READ_PRIVATE


@asynccontextmanager
async def serve(cell):
    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(AgentApp(cell, AtThisMachine(frozenset())), cell)
    cell.ready = True
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{listening.getsockname()[1]}") as http:
            yield http
    finally:
        server.should_exit = True
        await serving
        listening.close()


@pytest.fixture
async def explain(open_cell):
    """``await explain(tool, groups=…, **query)``: status and body."""

    async def ask(tool, groups=(), **query):
        more = {"policy": PolicySettings(rules=RULES), "groups": groups}
        params = {"tool": tool, **query}
        async with (
            open_cell(Post(), more=more) as cell,
            serve(cell) as http,
            http.get("/policy/explain", params=params) as answer,
        ):
            return answer.status, await answer.json()

    return ask


def verdicts(body):
    return {one["situation"]: one["verdict"] for one in body["situations"]}


async def test_a_tool_is_told_with_its_class_and_every_situation(explain):
    status, body = await explain("mail.get_inbox")
    assert status == 200
    assert (body["tool"], body["class"], body["proposed"], body["outward"], body["held"]) == (
        "mail.get_inbox", "read_private", False, False, None,
    )  # fmt: skip
    assert verdicts(body) == {
        "clean": "allow",
        "tainted": "allow",
        "tainted_private": "allow",
        "standing_yes": "allow",
        "unresolved": "ask",
        "nobody_to_ask": "allow",
    }


async def test_arguments_decide_which_rule_speaks(explain):
    _, without = await explain("mail.send")
    assert verdicts(without)["clean"] == "ask"
    _, given = await explain("mail.send", arguments='{"to": "bob@family.example"}')
    assert verdicts(given) | {"unresolved": ""} == {
        "clean": "allow",
        "tainted": "ask",
        "tainted_private": "ask",
        "standing_yes": "allow",
        "unresolved": "",
        "nobody_to_ask": "allow",
    }
    assert given["situations"][0]["rule"] == 2
    assert given["situations"][0]["reason"] == "Rule 2 of the policy allows it."


async def test_groups_decide_too(explain):
    _, body = await explain("mail.get_inbox", groups=("kids",))
    assert set(verdicts(body).values()) == {"deny"}
    assert body["groups"] == ["kids"]


async def test_a_held_tool_is_denied_in_every_situation(explain):
    _, body = await explain("mail.burn")
    assert body["held"] == "changed since it was reviewed"
    assert set(verdicts(body).values()) == {"deny"}
    assert {one["ground"] for one in body["situations"]} == {"tool_changed"}


async def test_a_bare_name_is_enough_where_one_service_has_it(explain):
    assert (await explain("fetch"))[1]["tool"] == "web.fetch"
    status, body = await explain("send")
    assert status == 400
    assert "chat.send, mail.send" in str(body)


@pytest.mark.parametrize(
    ("tool", "query", "status", "said"),
    [
        ("mail.sent", {}, 404, "near: mail.send"),
        ("", {}, 404, "There is no tool"),
        ("far.away", {}, 503, "it sleeps"),
        ("mail.send", {"arguments": "[1]"}, 422, "must be a JSON object"),
        ("mail.send", {"arguments": '{"a": 1, "a": 2}'}, 422, "the same key stands twice"),
        ("mail.send", {"arguments": '{"a": "' + "x" * 16_384 + '"}'}, 422, "longer than"),
    ],
)
async def test_what_cannot_be_explained(explain, tool, query, status, said):
    answered, body = await explain(tool, **query)
    assert answered == status
    assert said in str(body)
