"""What clients do at the socket is answered; the log tells of no failure of ours, and has no traceback."""

import logging

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.anyio


def failures(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


async def test_a_refused_upgrade_is_no_failure_of_the_server(open_rest, caplog):
    async with open_rest() as (rest, _):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await rest.http.ws_connect("/ws/chat", origin="https://elsewhere.example")
        assert refused.value.status == 403
        assert (await rest.ask("GET", "/health"))[0] == 200
    assert failures(caplog) == []


@pytest.mark.parametrize("sent", [b"\xff\xfe", [b"\xd8", b"\x40", b"x"]], ids=["one", "fragments"])
async def test_text_that_is_none_ends_the_connection_and_is_no_failure_of_the_server(open_rest, caplog, sent):
    async with open_rest() as (rest, _):
        address = str(rest.http._base_url).replace("http", "ws", 1).rstrip("/")
        async with connect(f"{address}/ws/chat") as client:
            await client.send(sent, text=True)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd.code == 1007
        async with connect(f"{address}/ws/chat") as client:
            await client.send([b"\xd8", b"\xb3", b"!"], text=True)
            assert "invalid_json" in await client.recv()
    assert failures(caplog) == []
