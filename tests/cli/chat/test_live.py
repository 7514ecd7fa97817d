"""`tom chat` against the whole of Tom: TLS with the house's own certificate, and an agent that is killed meanwhile."""

import asyncio
import os
import sys

import pytest

from tom.testing.house import PASSWORD, House
from tom.testing.simulated_llm import Script, SimulatedLLM

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def llm():
    with SimulatedLLM() as endpoint:
        yield endpoint


@pytest.fixture
async def house(tmp_path, llm):
    models = ["compatible/small", "compatible/medium", "compatible/large"]
    simulated = {"api": "none", "base_url": llm.url, "models": models, "timeout": 5}
    opened = House(tmp_path / "house", {"global": {"llm": "simulated", "llms": {"simulated": simulated}}})
    await opened.start()
    yield opened
    await opened.stop()


async def start(house, *arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tom.cli.main", "chat", "--url", house.url, "--user", "alice", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TOM_PASSWORD": PASSWORD, "XDG_CONFIG_HOME": str(house.directory.parent)},
    )  # fmt: skip


async def outcome(process):
    async with asyncio.timeout(30):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_the_certificate_of_the_house_is_trusted_by_its_data_directory_only(house, llm):
    llm.reply(Script.text("**hello**"))
    assert await outcome(await start(house, "hi", "--data", str(house.directory))) == (0, "**hello**\n", "")
    code, _, errors = await outcome(await start(house, "hi"))
    assert code == 1
    assert "the certificate is not trusted" in errors
    llm.reply(Script.text("again"))
    assert await outcome(await start(house, "hi", "--ca", str(house.directory / "tls" / "cert.pem"))) == (
        0,
        "again\n",
        "",
    )


async def test_an_answer_survives_the_death_of_its_agent(house, llm, until):
    llm.reply(Script.chunks(500, 22, delay=0.02), Script.text("whole"))
    process = await start(house, "go on", "--data", str(house.directory))
    await until(lambda: llm.open_streams == 1)
    await house.kill_agent("alice")
    code, out, errors = await outcome(process)
    assert (code, out) == (0, "whole\n")
    assert "Connected again." in errors
    async with house.person("alice") as alice:
        (session,) = (await alice.get("/sessions"))["sessions"]
        events = (await alice.get(f"/sessions/{session['id']}/events"))["events"]
    assert [event["type"] for event in events].count("message.received") == 1
