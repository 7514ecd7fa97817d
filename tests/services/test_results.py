"""What a service answered, as text."""

import base64

import pytest
from mcp_types import CallToolResult

from tom.services.results import LONGEST, decoded_size, outcome_of

PICTURE = base64.b64encode(bytes(1000)).decode()


def outcome(*content, **fields):
    return outcome_of(CallToolResult.model_validate({"content": list(content), **fields}))


def text(words):
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("one"), text("two")], "one\ntwo"),
        ([], "✓ done"),
        ([text("")], "✓ done"),
        ([{"type": "image", "data": PICTURE, "mimeType": "image/png"}], "[Image: image/png, 1000 bytes]"),
        ([{"type": "audio", "data": PICTURE, "mimeType": "audio/wav"}], "[Binary content: 1000 bytes]"),
        (
            [{"type": "resource", "resource": {"uri": "file:///a", "blob": PICTURE}}],
            "[Embedded resource: file:///a]",
        ),
        (
            [{"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}],
            "[Embedded resource: file:///a]\ninside",
        ),
        ([{"type": "resource_link", "uri": "file:///a", "name": "a"}], "[Resource link: file:///a]"),
        (
            [text("see"), {"type": "image", "data": PICTURE, "mimeType": "image/png"}],
            "see\n[Image: image/png, 1000 bytes]",
        ),
    ],
)
def test_each_kind_of_content_has_its_form(content, expected):
    assert outcome(*content).content == expected


def test_structured_content_stands_where_there_is_no_text():
    assert outcome(structuredContent={"ü": [1]}).content == '{"ü": [1]}'
    assert outcome(text("words"), structuredContent={"a": 1}).content == "words"
    assert outcome(text(""), structuredContent={"a": 1}).content == '{"a": 1}'


def test_an_error_is_a_result():
    assert outcome(text("no such file"), isError=True).is_error
    assert outcome(isError=True).content != "✓ done"


def test_the_cut_is_exact_and_marked():
    assert not outcome(text("x" * LONGEST)).truncated
    cut = outcome(text("é" * (LONGEST + 1)))
    assert cut.truncated
    assert len(cut.content) == LONGEST
    assert cut.content.endswith(f"[… cut here: {LONGEST + 1} characters in all]")


@pytest.mark.parametrize("size", range(20))
def test_sizes_are_those_of_the_bytes(size):
    assert decoded_size(base64.b64encode(bytes(size)).decode()) == size
