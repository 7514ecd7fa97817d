"""Sentences that clients know letter by letter are said letter by letter."""

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        ("{", "invalid_json", "Invalid message format: not a JSON object"),
        ("[1]", "invalid_json", "Invalid message format: not a JSON object"),
        ("{}", "unknown_action", "Unknown message format. Expected 'action': 'chat'"),
        ('{"action": "dance"}', "unknown_action", "Unknown message format. Expected 'action': 'chat'"),
    ],
)
async def test_a_frame_that_is_not_understood_is_answered_in_the_known_words(open_cell, connect, sent, code, said):
    async with open_cell() as cell:
        client = connect(cell)
        await client.socket.receive(sent)
        frame = await client.first(lambda frame: frame["status"] == "error")
        assert (frame["error"]["code"], frame["error"]["message"], frame["chunk"]["error"]) == (code, said, said)
