"""A request body as a JSON object, read so that no two parsers could disagree about it."""

import json
from typing import Any, Final, NoReturn, cast

from tom.errors import UnsupportedMediaType
from tom.gateway.refusals import BadRequest
from tom.gateway.request import Request

LIMIT: Final = 65_536
_DEEPEST: Final = 64


async def json_object(request: Request, limit: int = LIMIT) -> dict[str, Any]:
    """The body of a request; nothing at all is an empty object.

    Raises `UnsupportedMediaType`, `PayloadTooLarge`, `BadRequest` (also for duplicate keys, NaN and what nests too deep).
    """
    body = await request.body(limit)
    if not body.strip():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType
    return parse_object(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """The object that ``body`` is. Raises `BadRequest`."""
    try:
        value: Any = json.loads(body, object_pairs_hook=_pairs, parse_constant=_refuse)
        _check_depth(value, 1)
    except (ValueError, RecursionError) as error:
        raise BadRequest("Request body is not valid JSON") from error
    if not isinstance(value, dict):
        raise BadRequest("Request body is not a JSON object")
    return cast("dict[str, Any]", value)


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(items)
    if len(fields) != len(items):
        raise ValueError("a key stands twice")
    return fields


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a number")


def _check_depth(value: Any, depth: int) -> None:
    if not isinstance(value, dict | list):
        return
    if depth > _DEEPEST:
        raise ValueError("nests too deep")
    inside = cast("dict[str, Any] | list[Any]", value)
    for part in inside.values() if isinstance(inside, dict) else inside:
        _check_depth(part, depth + 1)
