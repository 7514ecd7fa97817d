"""A real house for tests and benchmarks: ``tom up`` in a process of its own, and people who use it over TLS.

Nothing here reaches into the product: a `House` is started, asked and killed as anybody could, a `Person` logs in,
and a `Chat` is a WebSocket that speaks the frames of the chat door.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

START_SECONDS = 30.0
FRAME_SECONDS = 30.0
_UNHURRIED = 100_000
PASSWORD = "correct horse battery"  # noqa: S105 - of people who exist only in tests


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(slots=True)
class House:
    """One ``tom up`` with its data directory. ``settings`` is merged into the config.yml that is written."""

    directory: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    people: tuple[str, ...] = ("alice", "bob")
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The address people open."""
        return f"https://localhost:{self.port}"

    @property
    def log(self) -> str:
        """What the house has printed so far."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def home(self, user: str) -> Path:
        """The directory of one person."""
        return self.directory / "users" / user

    def write_config(self) -> None:
        """Write config.yml: the people, loopback, and the given settings."""
        config: dict[str, Any] = {
            "global": {"listen": {"host": "127.0.0.1", "port": self.port}, "llm": "scripted"},
            "users": [{"username": name, "password": PASSWORD} for name in self.people],
            "rate_rps": _UNHURRIED,  # a test is one caller, and in a hurry
            "rate_burst": _UNHURRIED,
            "rate_limits": {"read": {"rps": _UNHURRIED, "burst": _UNHURRIED}},
        }
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / "config.yml"
        path.write_text(json.dumps(_merged(config, self.settings), indent=1))
        path.chmod(0o600)

    async def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with its last words when it does not."""
        if not (self.directory / "config.yml").exists():
            self.write_config()
        with (self.directory / "output.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tom.cli.main", "up", "--data", str(self.directory),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                env={**_environment(), **self.environment}, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self.healthy():
                    if self.process.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.kill()
        if not await self.healthy():
            message = f"the house did not start: {self.log[-2000:]}"
            raise RuntimeError(message)

    async def healthy(self) -> bool:
        """Whether it answers."""
        try:
            context = ssl.create_default_context(cafile=self.directory / "tls" / "cert.pem")
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
                http.get(f"{self.url}/health", timeout=aiohttp.ClientTimeout(5)) as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def stop(self) -> int:
        """SIGTERM, and wait for its end."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(45):
            code = await self.process.wait()
        self.process = None
        return code

    async def kill(self) -> None:
        """SIGKILL the gateway; what hangs on it ends with it."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.process = None

    async def agent_pid(self, user: str) -> int | None:
        """The process that serves ``user``, found by the file it holds open."""
        return await asyncio.to_thread(_holder, self.home(user) / "history.db")

    async def kill_agent(self, user: str) -> int:
        """SIGKILL the agent of ``user``; returns its pid once it is gone. Raises RuntimeError when there is none."""
        pid = await self.agent_pid(user)
        if pid is None:
            message = f"no agent of {user} is running"
            raise RuntimeError(message)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while await self.agent_pid(user) == pid:  # noqa: ASYNC110 - another process: there is nothing to wait on
                await asyncio.sleep(0.005)
        return pid

    def tls(self) -> ssl.SSLContext:
        """Trusts this house's own certificate only."""
        return ssl.create_default_context(cafile=self.directory / "tls" / "cert.pem")

    @asynccontextmanager
    async def person(self, user: str = "alice", password: str = PASSWORD) -> AsyncGenerator["Person"]:
        """Somebody who is logged in, as with a browser of their own."""
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(ssl=self.tls())
        headers = {"X-Tom-Client": "test"}
        async with aiohttp.ClientSession(self.url, cookie_jar=jar, connector=connector, headers=headers) as http:
            person = Person(self, user, http)
            await person.log_in(password)
            yield person

    def remove(self) -> None:
        """Delete the data directory."""
        shutil.rmtree(self.directory, ignore_errors=True)


@dataclass(slots=True)
class Person:
    """Somebody with a login."""

    house: House
    user: str
    http: aiohttp.ClientSession
    cookie: str = ""

    async def log_in(self, password: str = PASSWORD) -> None:
        """Log in. Raises RuntimeError when that is refused."""
        async with self.http.post("/login", json={"username": self.user, "password": password}) as answer:
            body = await answer.text()
            if answer.status != 200:
                message = f"login refused: {answer.status} {body}"
                raise RuntimeError(message)
            self.cookie = answer.cookies["__Host-tom"].value

    async def get(self, path: str) -> Any:
        """The JSON of a GET."""
        async with self.http.get(path) as answer:
            return await answer.json()

    async def post(self, path: str, body: Any = None) -> Any:
        """The JSON of a POST."""
        async with self.http.post(path, json=body) as answer:
            return await answer.json()

    @asynccontextmanager
    async def chat(self) -> AsyncGenerator["Chat"]:
        """An open WebSocket."""
        headers = {"Cookie": f"__Host-tom={self.cookie}", "X-Tom-Client": "test"}
        address = f"wss://localhost:{self.house.port}/ws/chat"
        async with connect(
            address, ssl=self.house.tls(), additional_headers=headers, compression=None, max_size=None, proxy=None
        ) as connection:
            yield Chat(connection)

    async def say(self, text: str, **payload: Any) -> "Spoken":
        """Say something on a socket of its own and wait for the end of the run."""
        async with self.chat() as chat:
            return await chat.say(text, **payload)


@dataclass(slots=True)
class Spoken:
    """What came of one message: its frames, from ``accepted`` to the end."""

    frames: list[dict[str, Any]]

    @property
    def accepted(self) -> dict[str, Any]:
        """The first frame."""
        return self.frames[0]

    @property
    def conversation_id(self) -> str:
        """Where it was said."""
        return self.accepted["conversation_id"]

    @property
    def end(self) -> dict[str, Any]:
        """The last frame."""
        return self.frames[-1]

    @property
    def text(self) -> str:
        """The text of the last attempt of every turn, in order. Raises AssertionError for a gap or a double."""
        pieces: dict[tuple[int, int], str] = {}
        for frame in self.frames:
            if frame["status"] != "chunk" or frame["chunk"]["type"] != "text":
                continue
            address = (frame["turn"], frame["attempt"])
            if frame.get("replay"):
                pieces[address] = ""
            so_far = pieces.get(address, "")
            assert frame["offset"] == len(so_far), f"a gap or a double at {address}: {frame['offset']}"  # noqa: S101
            pieces[address] = so_far + frame["chunk"]["data"]
        latest = {turn: text for (turn, _), text in sorted(pieces.items())}
        return "".join(latest.values())


@dataclass(slots=True)
class Chat:
    """One socket."""

    connection: ClientConnection
    sent: int = 0

    async def send(self, action: str, request_id: str | None = None, **payload: Any) -> str:
        """Send an action; returns its request id."""
        self.sent += 1
        request_id = request_id or f"{action}-{self.sent}-{os.urandom(4).hex()}"
        await self.connection.send(json.dumps({"action": action, "request_id": request_id, "payload": payload}))
        return request_id

    async def receive(self, seconds: float = FRAME_SECONDS) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(seconds):
            return json.loads(await self.connection.recv())

    async def until(
        self, *statuses: str, request_id: str | None = None, seconds: float = FRAME_SECONDS
    ) -> list[dict[str, Any]]:
        """Frames up to and with the first of these statuses (of ``request_id`` where given)."""
        frames: list[dict[str, Any]] = []
        async with asyncio.timeout(seconds):
            while True:
                frame = json.loads(await self.connection.recv())
                frames.append(frame)
                if frame["status"] in statuses and request_id in (None, frame["request_id"]):
                    return frames

    async def ask(self, action: str, **payload: Any) -> dict[str, Any]:
        """Send an action and return the frame that ends it."""
        request_id = await self.send(action, **payload)
        return (await self.until("complete", "error", "pong", request_id=request_id))[-1]

    async def say(self, text: str, request_id: str | None = None, **payload: Any) -> Spoken:
        """Say something and wait for the end of the run."""
        request_id = await self.send("chat", request_id, text=text, **payload)
        frames = await self.until("complete", "error", request_id=request_id)
        return Spoken([frame for frame in frames if frame["request_id"] == request_id])

    async def close(self) -> None:
        """Close the socket, as closing a tab does."""
        await self.connection.close()


def _environment() -> dict[str, str]:
    """This process's environment without anybody's keys."""
    wanted = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
    return {name: os.environ[name] for name in wanted if name in os.environ}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value))
        else:
            merged[key] = value
    return merged


def _holder(path: Path) -> int | None:
    """The process that has ``path`` open."""
    try:
        wanted = path.stat()
    except OSError:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                found = descriptor.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return int(process.name)
        except OSError:
            continue
    return None
