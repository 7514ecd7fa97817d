"""A request that does not fit is told field by field, by every door in the same way."""

import pytest

pytestmark = pytest.mark.anyio

UNFIT = [
    ("GET", "/sessions?q=" + "x" * 300, None, ["query", "q"]),
    ("GET", "/sessions?limit=0", None, ["query", "limit"]),
    ("GET", "/sessions/{session}/export?format=pdf", None, ["query", "format"]),
    ("GET", "/sessions/{session}/events?after=99", None, ["query", "after"]),
    ("GET", "/sessions/{session}/events?wait=61", None, ["query", "wait"]),
    ("GET", "/usage?from=yesterday", None, ["query", "from"]),
    ("GET", "/usage?to=2026-13-01", None, ["query", "to"]),
    ("GET", "/usage?from=2026-02-01&to=2026-01-01", None, ["query", "from"]),
    ("GET", "/resources?q=" + "x" * 300, None, ["query", "q"]),
    ("POST", "/sessions", {"memory_limit": 0}, ["body", "memory_limit"]),
    ("POST", "/sessions/{session}/messages", {}, ["body", "content"]),
    ("POST", "/sessions/import", {}, ["body", "format"]),
]


@pytest.mark.parametrize(("method", "path", "body", "place"), UNFIT)
async def test_every_validation_error_names_its_field(open_rest, method, path, body, place):
    async with open_rest() as (rest, _):
        session = await rest.open()
        status, code, error = await rest.refused(method, path.format(session=session), body)
        assert (status, code) == (422, "validation_error")
        (named,) = error["details"]["errors"]
        assert named["loc"] == place
        assert named["msg"]
        assert named["type"] in {"value_error", "missing", "type_error", "extra_forbidden"}
