"""Third-party MCP servers, as they are published, of both revisions and over both transports."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tom.config.agent import ServiceEntry
from tom.config.secret import Secret
from tom.conversation.elicitation import Continuation, ElicitationAnswer
from tom.conversation.tool import ToolClass
from tom.errors import InvalidArguments, ResourceNotFound
from tom.services.questions import completed
from tom.testing.asking_contract import Person

pytestmark = [pytest.mark.anyio, pytest.mark.services, pytest.mark.promise("P24")]

BIN = Path(sys.executable).parent


async def call(registry, name, **arguments):
    tool = next(tool for tool in (await registry.tools()).tools if tool.tool == name)
    assert registry.check(tool, arguments) is None
    return await registry.call(tool, arguments, timeout=30)


@pytest.fixture
def repository_of_git(tmp_path):
    path = tmp_path / "repository"
    path.mkdir()
    (path / "a.txt").write_text("one\n")
    own = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(path), *words], check=True, env=own)
    return path


@pytest.fixture
def everything(node, npm):
    return ServiceEntry(name="everything", command=node, args=(npm("mcp-server-everything"), "stdio"))


@pytest.fixture
async def everything_over_http(node, npm, free_port):
    """server-everything as a program of its own, on a port."""
    process = await asyncio.create_subprocess_exec(
        *(node, npm("mcp-server-everything"), "streamableHttp"),
        env={**os.environ, "PORT": str(free_port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(30):
            while not await _listens(free_port):
                await asyncio.sleep(0.05)
        yield ServiceEntry(name="everything", url=f"http://127.0.0.1:{free_port}/mcp")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_the_time_server_tells_the_time(quick):
    async with quick(ServiceEntry(name="time", command=str(BIN / "mcp-server-time"))) as registry:
        offered = {tool.name: tool for tool in (await registry.tools()).tools}
        assert set(offered) == {"get_current_time", "convert_time"}
        assert offered["get_current_time"].tool_class is ToolClass.READ_PRIVATE
        outcome = await call(registry, "get_current_time", timezone="Europe/Paris")
        assert json.loads(outcome.content)["timezone"] == "Europe/Paris"
        wrong = registry.check(offered["get_current_time"], {})
        assert wrong is not None
        assert wrong.text.startswith("Parameter validation failed for tool 'get_current_time': timezone - ")
        assert (await call(registry, "get_current_time", timezone="Nowhere/Land")).is_error


async def test_the_git_server_shows_a_repository(quick, repository_of_git):
    path = str(repository_of_git)
    entry = ServiceEntry(name="git", command=str(BIN / "mcp-server-git"), args=("--repository", path))
    async with quick(entry) as registry:
        assert "first" in (await call(registry, "git_log", repo_path=path)).content
        (repository_of_git / "a.txt").write_text("two\n")
        assert "+two" in (await call(registry, "git_diff_unstaged", repo_path=path)).content


async def test_the_filesystem_server_reads_its_directory_and_no_other(quick, node, npm, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "note.txt").write_text("hello")
    (tmp_path / "outside.txt").write_text("secret")
    entry = ServiceEntry(name="files", command=node, args=(npm("mcp-server-filesystem"), str(inside)))
    async with quick(entry) as registry:
        assert (await call(registry, "read_text_file", path=str(inside / "note.txt"))).content == "hello"
        await call(registry, "write_file", path=str(inside / "new.txt"), content="written")
        assert (inside / "new.txt").read_text() == "written"
        refused = await call(registry, "read_text_file", path=str(tmp_path / "outside.txt"))
        assert refused.is_error
        assert "secret" not in refused.content


async def test_server_everything_over_stdio(quick, everything):
    async with quick(everything) as registry:
        await _exercise(registry)


async def test_server_everything_over_http(quick, everything_over_http):
    async with quick(everything_over_http) as registry:
        await _exercise(registry)


async def test_the_memory_server_keeps_a_graph(quick, node, npm, tmp_path):
    env = {"MEMORY_FILE_PATH": Secret(str(tmp_path / "graph.jsonl"))}
    entry = ServiceEntry(name="graph", command=node, args=(npm("mcp-server-memory"),), env=env)
    async with quick(entry) as registry:
        ann = {"name": "Ann", "entityType": "person", "observations": ["likes tea"]}
        assert not (await call(registry, "create_entities", entities=[ann])).is_error
        assert "likes tea" in (await call(registry, "search_nodes", query="tea")).content
    assert "likes tea" in (tmp_path / "graph.jsonl").read_text()


async def test_the_fetch_server_reads_a_page(quick, page):
    entry = ServiceEntry(
        name="fetch", command=str(BIN / "mcp-server-fetch"), args=("--ignore-robots-txt", "--allow-private-ips")
    )
    async with quick(entry) as registry:
        assert "Ducks are birds" in (await call(registry, "fetch", url=page)).content
        (prompt,) = await registry.prompts()
        assert (prompt.name, list(prompt.arguments)) == ("fetch", ["url"])
        (asked,) = await registry.prompt("fetch", "fetch", {"url": page})
        assert "Ducks are birds" in asked.text


@pytest.fixture
def page():
    """The address of a page on this machine."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<html><head><title>Ducks</title></head><body><h1>Ducks</h1><p>Ducks are birds.</p></body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ducks"
        server.shutdown()
        thread.join()


async def _exercise(registry):
    await _call_tools(registry)
    await _read_library(registry)
    await _be_asked(registry)


async def _read_library(registry):
    prompts = {entry.prompt: entry for entry in await registry.prompts()}
    assert prompts["args-prompt"].arguments["city"][1]
    (asked,) = await registry.prompt("everything", "args-prompt", {"city": "Oslo"})
    assert "Oslo" in asked.text
    with pytest.raises(InvalidArguments, match="missing: city"):
        await registry.prompt("everything", "args-prompt", {})
    (entry,) = await registry.resources(query="architecture.md")
    content = await registry.read("everything", entry.uri)
    assert content.mime_type == "text/markdown"
    assert len(content.text) > 100
    with pytest.raises(ResourceNotFound):
        await registry.read("everything", "demo://resource/nothing")


async def _be_asked(registry):
    tools = {tool.tool: tool for tool in (await registry.tools()).tools}
    person = Person(ElicitationAnswer("accept", {"name": "Ann"}), ElicitationAnswer("accept"))
    asked = await registry.call(tools["trigger-elicitation-request"], {}, exchange=person, timeout=30)
    assert "Ann" in asked.content
    assert {"name", "integer", "email"} <= set(person.questions[0].schema["properties"])
    address = {"url": "https://pay.example/1", "message": "Pay", "elicitationId": "pay-1"}
    await registry.call(tools["trigger-url-elicitation"], address, exchange=person, timeout=30)
    assert person.questions[1].url == "https://pay.example/1"
    steps = {"duration": 0.4, "steps": 2}
    await registry.call(tools["trigger-long-running-operation"], steps, exchange=person, timeout=30)
    assert [told[:2] for told in person.progress] == [(1, 2), (2, 2)]
    # Neither the person's model nor their directories are on offer, so the server offers no tool that wants them.
    assert not [name for name in tools if "sampling" in name or "roots" in name]


async def _call_tools(registry):
    assert (await call(registry, "echo", message="héllo")).content == "Echo: héllo"
    assert "5" in (await call(registry, "get-sum", a=2, b=3)).content
    pictured = await call(registry, "get-tiny-image")
    assert "[Image: image/png, " in pictured.content
    assert [image.media_type for image in pictured.images] == ["image/png"]
    assert json.loads((await call(registry, "get-structured-content", location="New York")).content)
    assert (
        "[Embedded resource: "
        in (await call(registry, "get-resource-reference", resourceType="Text", resourceId=1)).content
    )
    assert "[Resource link: " in (await call(registry, "get-resource-links", count=2)).content
    tool = next(t for t in (await registry.tools()).tools if t.tool == "trigger-long-running-operation")
    late = await registry.call(tool, {"duration": 20, "steps": 5}, timeout=0.5)
    assert "did not answer within 0.5 s" in late.content
    outcomes = await asyncio.gather(*(call(registry, "echo", message=str(n)) for n in range(20)))
    assert [outcome.content for outcome in outcomes] == [f"Echo: {n}" for n in range(20)]


async def test_a_third_party_server_sees_no_secret_of_ours(quick, everything, monkeypatch):
    monkeypatch.setenv("OPENROUTER_KEY", "canary")
    mine = ServiceEntry(
        name="everything", command=everything.command, args=everything.args, env={"GIVEN": Secret("to it")}
    )
    async with quick(mine) as registry:
        seen = (await call(registry, "get-env")).content
    assert "canary" not in seen
    assert json.loads(seen)["GIVEN"] == "to it"


async def test_all_of_them_at_once_killed_and_back(quick, everything, repository_of_git, children, until):
    before = children()
    entries = (
        everything,
        ServiceEntry(name="time", command=str(BIN / "mcp-server-time")),
        ServiceEntry(name="git", command=str(BIN / "mcp-server-git")),
        ServiceEntry(name="gone", command="no-such-server"),
    )
    async with quick(*entries) as registry:
        offered = await registry.tools()
        assert {tool.service for tool in offered.tools} == {"everything", "time", "git"}
        assert set(offered.unavailable) == {"gone"}
        killed = children() - before
        for pid in killed:
            os.killpg(pid, signal.SIGKILL)
        await until(lambda: len(children() - before - killed) == 3, 30)
        assert (await call(registry, "echo", message="back")).content == "Echo: back"
        assert not (await call(registry, "get_current_time", timezone="UTC")).is_error
    assert children() == before


@pytest.fixture(params=["stdio", "http"])
async def demo(request, repository, free_port):
    """examples/demo_server.py, over both transports."""
    program = str(repository / "examples/demo_server.py")
    if request.param == "stdio":
        yield ServiceEntry(name="demo", command=sys.executable, args=(program,))
        return
    process = await asyncio.create_subprocess_exec(sys.executable, program, "--http", str(free_port))
    try:
        async with asyncio.timeout(30):
            while not await _listens(free_port):
                await asyncio.sleep(0.05)
        yield ServiceEntry(name="demo", url=f"http://127.0.0.1:{free_port}/mcp")
    finally:
        process.kill()
        await process.wait()


async def test_the_demo_server(quick, demo, until):
    async with quick(demo) as registry:
        tools = {tool.tool: tool for tool in (await registry.tools()).tools}
        person = Person()
        assert (await call(registry, "add", a=2, b=3)).content == "5"
        prices = await registry.call(tools["check_prices"], {}, exchange=person, timeout=30)
        assert prices.content == "bread: 5.00\nmilk: 4.00"
        assert person.progress[-1] == (2, 2, "milk")
        asked = await registry.call(tools["clear_list"], {}, exchange=person, timeout=30)
        assert asked.needs is not None  # it speaks 2026-07-28: the call is made again with the answer
        (question,) = asked.needs.questions
        answer = completed(question, ElicitationAnswer("accept", {"sure": True}))
        continuation = Continuation({question.key: answer}, asked.needs.state)
        done = await registry.call(tools["clear_list"], {}, exchange=person, continuation=continuation, timeout=30)
        assert done.content == "0 items are left."
        assert (await call(registry, "get_list")).content == "The list is empty."
        (meal,) = await registry.prompt("demo", "plan_meal", {"occasion": "tea"})
        assert meal.text.startswith("Plan a meal for tea with 2 guests.")
        assert (await registry.read("demo", "demo://item/milk")).text == "milk is not on the list."
        assert "shopping list" in (await registry.description("demo", "response_consign", timeout=30))
        await until(lambda: registry.status()[0].description.startswith("The household's shopping list"))


SDK_SERVER = """
import asyncio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("sdk")

@server.tool()
async def learn(ctx: Context) -> str:
    server.add_tool(later)
    await ctx.notify_tools_changed()
    return "learned"

@server.tool()
async def revision(ctx: Context) -> str:
    return str(ctx.request_context.session.protocol_version)

async def later() -> str:
    return "it is later"

server.run()
"""


@asynccontextmanager
async def sdk_server(quick, tmp_path):
    program = tmp_path / "server.py"
    program.write_text(SDK_SERVER)
    async with quick(ServiceEntry(name="sdk", command=sys.executable, args=(str(program),))) as registry:
        yield registry


async def test_a_server_of_2026_07_28_is_spoken_to_in_that_revision(quick, tmp_path):
    async with sdk_server(quick, tmp_path) as registry:
        assert (await call(registry, "revision")).content == "2026-07-28"


async def test_a_server_of_2026_07_28_tells_of_new_tools(quick, tmp_path, until):
    async with sdk_server(quick, tmp_path) as registry:

        async def heard():
            await call(registry, "learn")
            return "later" in {tool.tool for tool in (await registry.tools()).tools}

        await until(heard)
        assert (await call(registry, "later")).content == "it is later"
