# ruff: noqa: S101, D102, ASYNC240 - tests: they assert, their names say what, and they look at files
"""What every `Spawner` must do. Subclass it in a test module and give it the fixture ``spawner``.

The spawner under test starts `tom.testing.tiny_agent`.
"""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tom.errors import AgentFailed
from tom.spawner.spawner import AgentHandle, AgentSpec, Spawner
from tom.spawner.unixpath import reachable

SECONDS = 10.0


async def ask(handle: AgentHandle, path: str = "/") -> dict[str, Any]:
    """One HTTP request to an agent over its socket, without any client library; bounded."""
    async with asyncio.timeout(SECONDS):
        with reachable(handle.socket) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")


def spec(directory: Path, user: str = "alice", document: bytes = b"{}") -> AgentSpec:
    """A spec whose socket lies in ``directory``."""
    return AgentSpec(user=user, document=document, socket=str(directory / "agents" / f"{user}.sock"))


class SpawnerContract:
    """Start, poll, stop, as `tom.spawner.spawner.Spawner` says."""

    pytestmark = pytest.mark.anyio

    async def test_an_agent_answers_as_soon_as_start_returns(self, spawner: Spawner, tmp_path: Path) -> None:
        handle = await spawner.start(spec(tmp_path))
        assert (await ask(handle))["user"] == handle.user == "alice"
        assert await spawner.poll(handle) is None

    @pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_048_576])
    async def test_the_document_arrives_whole(self, spawner: Spawner, tmp_path: Path, size: int) -> None:
        document = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        answer = await ask(await spawner.start(spec(tmp_path, document=document)))
        assert answer["document_size"] == size
        assert answer["document"] == hashlib.sha256(document).hexdigest()

    async def test_stop_ends_it_in_good_order(self, spawner: Spawner, tmp_path: Path) -> None:
        handle = await spawner.start(spec(tmp_path))
        await ask(handle)
        assert await spawner.stop(handle) == 0
        assert await spawner.poll(handle) == 0
        assert await spawner.stop(handle) == 0
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            await ask(handle)
        assert not Path(handle.socket).exists()

    async def test_a_stopped_agent_starts_again_on_the_same_socket(self, spawner: Spawner, tmp_path: Path) -> None:
        first = await spawner.start(spec(tmp_path))
        await ask(first)
        await spawner.stop(first)
        second = await spawner.start(spec(tmp_path))
        assert (await ask(second))["user"] == "alice"
        assert await spawner.poll(first) == 0
        assert await spawner.poll(second) is None

    async def test_agents_are_apart(self, spawner: Spawner, tmp_path: Path) -> None:
        users = [f"user{number}" for number in range(8)]
        specs = [spec(tmp_path, user, document=user.encode()) for user in users]
        handles = await asyncio.gather(*(spawner.start(one) for one in specs))
        answers = await asyncio.gather(*(ask(handle) for handle in handles))
        assert [answer["user"] for answer in answers] == users
        assert len({handle.pid for handle in handles}) == len(users)
        await spawner.stop(handles[0])
        assert (await ask(handles[1]))["user"] == "user1"

    async def test_a_socket_path_may_be_longer_than_the_kernel_takes(self, spawner: Spawner, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 60) / ("e" * 60) / ("f" * 60)
        handle = await spawner.start(spec(deep))
        assert (await ask(handle))["user"] == "alice"
        assert await spawner.stop(handle) == 0

    async def test_a_file_left_at_the_socket_is_replaced(self, spawner: Spawner, tmp_path: Path) -> None:
        wanted = spec(tmp_path)
        Path(wanted.socket).parent.mkdir(mode=0o700)
        Path(wanted.socket).write_text("left by a killed gateway")
        assert (await ask(await spawner.start(wanted)))["user"] == "alice"

    async def test_the_socket_is_for_its_owner_only(self, spawner: Spawner, tmp_path: Path) -> None:
        handle = await spawner.start(spec(tmp_path))
        assert Path(handle.socket).stat().st_mode & 0o777 == 0o600
        assert Path(handle.socket).parent.stat().st_mode & 0o777 == 0o700

    async def test_a_directory_open_to_others_is_refused(self, spawner: Spawner, tmp_path: Path) -> None:
        wanted = spec(tmp_path)
        Path(wanted.socket).parent.mkdir()
        Path(wanted.socket).parent.chmod(0o755)
        with pytest.raises(AgentFailed, match="chmod 700"):
            await spawner.start(wanted)

    async def test_an_agent_of_another_spawner_is_not_known(self, spawner: Spawner, tmp_path: Path) -> None:
        stranger = AgentHandle("alice", 1, str(tmp_path / "none.sock"))
        with pytest.raises(AgentFailed):
            await spawner.poll(stranger)
        with pytest.raises(AgentFailed):
            await spawner.stop(stranger)

    async def test_close_stops_everyone_and_starts_nobody(self, spawner: Spawner, tmp_path: Path) -> None:
        handles = [await spawner.start(spec(tmp_path, user)) for user in ("alice", "bob")]
        for handle in handles:
            await ask(handle)
        await spawner.close()
        assert [await spawner.poll(handle) for handle in handles] == [0, 0]
        with pytest.raises(AgentFailed):
            await spawner.start(spec(tmp_path))
