"""Services over streamable HTTP: both revisions, warm connections, limits, restarts."""

import asyncio
import gzip
import json
import time
from contextlib import asynccontextmanager, nullcontext

import pytest
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tom.config.agent import ServiceEntry
from tom.config.secret import Secret

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@asynccontextmanager
async def serving(app, port):
    """Serve an ASGI application on 127.0.0.1."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve())
        try:
            async with asyncio.timeout(10):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.should_exit = True
            await running


def make_app(**settings):
    server = MCPServer("web", instructions="Adds numbers.")
    seen = {"waiting": asyncio.Event(), "cancelled": asyncio.Event()}

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def learn(ctx: Context) -> str:
        """Have one tool more from now on."""
        server.add_tool(add, name="learned")
        await ctx.notify_tools_changed()
        return "learned"

    @server.tool()
    async def wait() -> str:
        """Wait for ever."""
        seen["waiting"].set()
        try:
            await asyncio.Event().wait()
        finally:
            seen["cancelled"].set()
        return ""

    return server.streamable_http_app(**settings), seen


def web(url, **settings):
    return ServiceEntry(name="web", url=url, **settings)


async def call(registry, name, timeout=10.0, **arguments):
    tool = next(tool for tool in (await registry.tools()).tools if tool.tool == name)
    return await registry.call(tool, arguments, timeout=timeout)


async def test_a_service_of_the_official_sdk_is_called(quick, free_port):
    app, _ = make_app()
    async with serving(app, free_port) as url, quick(web(url)) as registry:
        assert (await call(registry, "add", a=2, b=3)).content == "5"
        assert registry.status()[0].description == "Adds numbers."
        assert registry.status()[0].url == url


async def test_a_changed_list_is_heard_of(quick, free_port, until):
    app, _ = make_app()
    async with serving(app, free_port) as url, quick(web(url)) as registry:

        async def heard():
            await call(registry, "learn")
            return "learned" in {tool.tool for tool in (await registry.tools()).tools}

        await until(heard)
        assert (await call(registry, "learned", a=2, b=3)).content == "5"


async def test_a_call_that_takes_too_long_is_cancelled_there(quick, free_port):
    app, seen = make_app()
    async with serving(app, free_port) as url, quick(web(url)) as registry:
        outcome = await call(registry, "wait", timeout=0.5)
        assert "did not answer within 0.5 s" in outcome.content
        await asyncio.wait_for(seen["cancelled"].wait(), 5)
        assert (await call(registry, "add", a=2, b=3)).content == "5"


async def test_a_service_that_goes_away_and_comes_back(quick, free_port, until):
    url = f"http://127.0.0.1:{free_port}/mcp"
    async with quick(web(url)) as registry:
        assert (await registry.tools()).unavailable
        app, _ = make_app()
        async with serving(app, free_port):
            await until(lambda: registry.status()[0].status == "connected")
            assert (await call(registry, "add", a=1, b=1)).content == "2"
        gone = await call(registry, "add", a=1, b=1)
        assert gone.is_error
        await until(lambda: registry.status()[0].status == "error")
        app, _ = make_app()
        async with serving(app, free_port):
            await until(lambda: registry.status()[0].status == "connected")
            assert (await call(registry, "add", a=1, b=1)).content == "2"


class Played:
    """A service of 2025-11-25 that answers as a test says; it knows the sessions it has given out."""

    def __init__(self):
        self.sessions = []
        self.known = set()
        self.requests = []
        self.answer = None

    async def post(self, request):
        message = await request.json()
        self.requests.append((message["method"], dict(request.headers)))
        method, number = message["method"], message.get("id")
        if method == "initialize":
            session = f"s{len(self.sessions)}"
            self.sessions.append(session)
            self.known.add(session)
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "played", "version": "1"},
            }
            return self._reply(number, result, {"mcp-session-id": session})
        if method == "server/discover":
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}})
        if request.headers.get("mcp-session-id") not in self.known:
            return Response(status_code=404)
        if method == "tools/list":
            return self._reply(number, {"tools": [{"name": "ask", "inputSchema": {"type": "object"}}]})
        if method == "tools/call":
            return self.answer(number)
        return Response(status_code=202)

    def app(self):
        async def elsewhere(_request):
            return Response(status_code=405)

        return Starlette(routes=[Route("/mcp", self.post, methods=["POST"]), Route("/mcp", elsewhere)])

    @staticmethod
    def _reply(number, result, headers=None):
        return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result}, headers=headers)

    @classmethod
    def text(cls, number, text):
        return cls._reply(number, {"content": [{"type": "text", "text": text}]})


@pytest.fixture
async def played(free_port):
    service = Played()
    service.answer = lambda number: service.text(number, "fine")
    async with serving(service.app(), free_port) as service.url:
        yield service


async def test_one_connection_serves_many_calls(quick, played):
    async with quick(web(played.url)) as registry:
        for _ in range(5):
            assert (await call(registry, "ask")).content == "fine"
    assert len(played.sessions) == 1


async def test_a_forgotten_session_is_opened_anew_and_the_call_made(quick, played):
    async with quick(web(played.url)) as registry:
        assert (await call(registry, "ask")).content == "fine"
        played.known.clear()
        assert (await call(registry, "ask")).content == "fine"
    assert len(played.sessions) == 2


async def test_headers_are_sent_and_the_transports_own_win(quick, played):
    headers = {"Authorization": Secret("Bearer t"), "Accept": Secret("text/plain"), "Accept-Encoding": Secret("gzip")}
    async with quick(web(played.url, headers=headers)) as registry:
        await call(registry, "ask")
    for _, sent in played.requests:
        assert sent["authorization"] == "Bearer t"
        assert sent["accept"] == "application/json, text/event-stream"
        assert sent["accept-encoding"] == "identity"


async def test_proxies_of_the_environment_are_ignored(quick, played, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with quick(web(played.url)) as registry:
        assert (await call(registry, "ask")).content == "fine"


async def test_an_answer_of_more_than_16_mib_is_an_outcome(quick, played):
    played.answer = lambda number: played.text(number, "x" * (17 * 1024 * 1024))
    async with quick(web(played.url)) as registry:
        outcome = await call(registry, "ask")
        assert outcome.is_error
        played.answer = lambda number: played.text(number, "x" * (8 * 1024 * 1024))
        assert (await call(registry, "ask")).truncated


async def test_a_compressed_answer_is_refused(quick, played):
    def bomb(number):
        body = json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": []}}).encode()
        return Response(gzip.compress(body), headers={"content-encoding": "gzip", "content-type": "application/json"})

    played.answer = bomb
    async with quick(web(played.url)) as registry:
        assert (await call(registry, "ask")).is_error


@pytest.mark.parametrize(
    "answer",
    [
        lambda _number: Response("no JSON", media_type="application/json"),
        lambda _number: Response("{}", media_type="application/json"),
        lambda _number: Response("<html>", media_type="text/html"),
        lambda _number: Response("data: {\n\n", media_type="text/event-stream"),
        lambda _number: Response("", media_type="text/event-stream"),
        lambda _number: Response(status_code=500),
        lambda _number: Response(status_code=202),
        lambda _number: RedirectResponse("http://127.0.0.1:9/elsewhere", status_code=307),
    ],
)
async def test_nonsense_is_an_outcome_and_the_service_usable(quick, played, answer):
    async with quick(web(played.url)) as registry:
        await registry.tools()
        played.answer = answer
        started = time.monotonic()
        outcome = await call(registry, "ask", timeout=5)
        assert outcome.is_error
        assert time.monotonic() - started < 5
        played.answer = lambda number: played.text(number, "again")
        assert (await call(registry, "ask")).content == "again"


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_refusal_is_named_by_its_status(quick, free_port, status):
    async def refuse(_request):
        return Response(status_code=status)

    app = Starlette(routes=[Route("/mcp", refuse, methods=["POST", "GET", "DELETE"])])
    async with serving(app, free_port) as url, quick(web(url)) as registry:
        assert (await registry.tools()).unavailable == {"web": f"it answered HTTP {status}"}


async def test_a_service_that_never_answers_costs_its_deadline(quick):
    async def swallow(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with quick(web(f"http://127.0.0.1:{port}/mcp", connect_timeout=0.4)) as registry:
            started = time.monotonic()
            assert (await registry.tools()).unavailable == {"web": "it did not answer in time"}
            assert time.monotonic() - started < 0.4 * 1.1 + 0.5
