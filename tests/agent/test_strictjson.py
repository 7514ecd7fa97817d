"""JSON from outside has one reading, in bounded depth, size and time."""

import time

import pytest

from tom.agent.strictjson import MAX_DEPTH, MAX_KEYS, parse_json


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nope",
        '{"a":1,"a":2}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":9223372036854775808}',
        '{"a":-9223372036854775809}',
        '{"a":' + "9" * 5000 + "}",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "{" + ",".join(f'"k{n}":1' for n in range(MAX_KEYS + 1)) + "}",
        b"\xff\xfe",
        '{"a":1}}',
    ],
)
@pytest.mark.promise("P23")
def test_what_two_parsers_could_read_differently_is_refused(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_ordinary_json_is_read():
    assert parse_json('{"a":[1,2.5,null,true,"x"],"b":{"c":"d"}}') == {"a": [1, 2.5, None, True, "x"], "b": {"c": "d"}}
    assert parse_json(b'"\xc3\xa9"') == "é"
    assert parse_json(str(2**63 - 1)) == 2**63 - 1


def test_brackets_inside_strings_are_not_depth():
    assert parse_json('["' + "[" * 1000 + '\\""]') == ["[" * 1000 + '"']


def test_the_deepest_allowed_nesting_is_read():
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize("piece", ['"\\', "[", '{"a":', '"', "\\u"])
@pytest.mark.promise("P23")
def test_reading_takes_linear_time(piece):
    def taken(size):
        text = piece * size
        best = 1e9
        for _ in range(3):
            started = time.process_time()
            with pytest.raises((ValueError, RecursionError)):
                parse_json(text)
            best = min(best, time.process_time() - started)
        return best

    assert taken(200_000) <= max(taken(20_000) * 25, 0.05)
