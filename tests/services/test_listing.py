"""Which tools are on offer, and as what."""

import pytest

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.services.cleaning import clean, clean_within
from tom.services.listing import MOST_TOOLS, RawTool, listing_of


def listed(*names, **settings):
    return listing_of(ServiceEntry(name="s", **settings), [RawTool.of(name) for name in names])


def offered(*names, **settings):
    return [tool.tool for tool in listed(*names, **settings).tools]


def test_globs_choose():
    names = ("read_mail", "read_file", "send_mail", "delete_mail")
    assert offered(*names) == list(names)
    assert offered(*names, allow=("read_*",)) == ["read_mail", "read_file"]
    assert offered(*names, deny=("*_mail",)) == ["read_file"]
    assert offered(*names, allow=("*_mail",), deny=("delete_*",)) == ["read_mail", "send_mail"]


def test_the_admins_class_wins_over_the_proposed_one():
    tools = listed("get_it", "make_it", "wipe", classes={"wipe": "destructive", "get_it": "write_own"}).tools
    assert [tool.tool_class for tool in tools] == [
        ToolClass.WRITE_OWN,
        ToolClass.WRITE_EXTERNAL,
        ToolClass.DESTRUCTIVE,
    ]


def test_at_most_128_tools_are_on_offer():
    listing = listed(*(f"t{n}" for n in range(MOST_TOOLS + 72)))
    assert len(listing.tools) == MOST_TOOLS
    assert listing.beyond == 72


def test_globs_choose_before_the_limit():
    assert len(offered(*(f"t{n}" for n in range(1000)), allow=("t99?",))) == 10


@pytest.mark.parametrize("name", ["", "x" * 257, "get\u200bit", "get\nit\u202e", "\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_skipped(name):
    listing = listed(name, "good")
    assert [tool.tool for tool in listing.tools] == ["good"]
    assert len(listing.skipped) == 1


def test_the_same_name_twice_is_refused_unless_it_is_the_same_tool():
    assert offered("twice", "twice") == ["twice"]
    listing = listing_of(ServiceEntry(name="s"), [RawTool.of("twice"), RawTool.of("twice", title="x"), RawTool.of("b")])
    assert [tool.tool for tool in listing.tools] == ["b"]
    assert listing.skipped == {"twice": "the service lists it twice, with different definitions"}


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\x00",
        "\x1b",
        "\x7f",
        "\u00ad",
        "\U000e0041",
        "\ue000",
        "\ufe0f\U000e0100",
        "\u3164",
    ],
)
def test_invisible_characters_are_stripped(hidden):
    assert clean(f"a{hidden}b").replace("\ufe0f", "") == "ab"


def test_visible_text_stays_as_it_is():
    text = "Größe ≤ 5 €\n\tنص עברית 日本語 👍🏽"
    assert clean(text) == text


def test_text_is_cut_at_whole_characters():
    assert clean_within("ä" * 100, 50).encode().__len__() <= 50
    assert clean_within("ä" * 100, 50).endswith("ä…")
    assert clean_within(" short ", 50) == "short"
