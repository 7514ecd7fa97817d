"""Markdown becomes HTML that is safe to show, says where links lead, and loses no word."""

import json
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tom.gateway.render import MAX_CELLS, MAX_FORMATTED, render_markdown

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
HOSTILE = json.loads((CASES / "xss.json").read_text())
LINKS = json.loads((CASES / "links.json").read_text())

ALLOWED = {
    "p": {"dir"}, "br": set(), "hr": set(), "strong": set(), "em": set(), "s": set(), "code": {"dir"},
    "h3": {"dir"}, "h4": {"dir"}, "h5": {"dir"}, "h6": {"dir"}, "pre": {"dir", "data-language"}, "ul": {"dir"},
    "ol": {"dir", "start"}, "li": {"dir"}, "blockquote": {"dir"}, "div": {"class", "dir"}, "table": {"dir"},
    "thead": set(), "tbody": set(), "tr": set(), "th": {"dir", "class"}, "td": {"dir", "class"},
    "a": {"href", "target", "rel"}, "span": {"class"},
}  # fmt: skip
CLASSES = {"host", "wide", "to-center", "to-end", ""}


class Reading(HTMLParser):
    """What a fragment consists of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        pytest.fail(f"a comment: {data}")

    def handle_decl(self, decl):
        pytest.fail(f"a declaration: {decl}")

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_pack_of_hostile_texts_is_large():
    assert len(HOSTILE) >= 80
    assert len(set(HOSTILE)) == len(HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_only_known_elements(text):
    reading = Reading(render_markdown(text))
    for tag, attributes in reading.tags:
        assert tag in ALLOWED
        assert set(attributes) <= ALLOWED[tag]
        assert attributes.get("class", "") in CLASSES
        assert attributes.get("dir", "auto") in {"auto", "ltr", "rtl"}
        href = attributes.get("href") or ""
        assert href.lower().startswith(("https://", "http://", "mailto:")) or not href


@pytest.mark.parametrize(("text", "host"), LINKS)
def test_a_link_shows_where_it_leads_or_leads_nowhere(text, host):
    reading = Reading(render_markdown(text))
    links = reading.all("a")
    if host is None:
        assert links == []
    else:
        assert len(links) == 1
        assert reading.text.strip().endswith(host)
        assert links[0]["target"] == "_blank"
        assert set((links[0]["rel"] or "").split()) == {"noopener", "noreferrer"}


def test_an_address_that_is_its_own_text_is_not_repeated():
    assert Reading(render_markdown("<https://a.example/b>")).text.strip() == "https://a.example/b"


def test_the_forms_of_an_answer_are_kept():
    html = render_markdown(
        "# Title\n\n**bold** *soft* ~~gone~~ `x<y`\n\n3. c\n4. d\n\n> said\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n---\n\n"
        "```python\nif a < b:\n    pass\n```\n"
    )
    reading = Reading(html)
    assert {"h3", "strong", "em", "s", "code", "ol", "li", "blockquote", "table", "hr", "pre"} <= {
        tag for tag, _ in reading.tags
    }
    assert reading.all("ol")[0]["start"] == "3"
    assert reading.all("pre")[0]["data-language"] == "python"
    assert [cell.get("class") for cell in reading.all("td")] == ["to-center", "to-end"]
    assert "if a < b:\n    pass\n" in reading.text


def test_headings_start_below_those_of_the_page():
    tags = [tag for tag, _ in Reading(render_markdown("# a\n\n## b\n\n###### c")).tags]
    assert tags == ["h3", "h4", "h6"]


@pytest.mark.parametrize(
    ("text", "tag", "direction"),
    [
        ("- سلام\n- hello", "ul", "rtl"),
        ("- hello\n- سلام", "ul", "ltr"),
        ("1. «۱۲» شنبه", "ol", "rtl"),
        ("> نقل قول", "blockquote", "rtl"),
        ("| شهر | city |\n|---|---|\n| تهران | Tehran |", "table", "rtl"),
        ("- `ls` فهرست را نشان می‌دهد", "li", "rtl"),
        ("- 12", "ul", "auto"),
        ("سلام", "p", "auto"),
        ("# שלום", "h3", "auto"),
        ("`سلام`", "code", "ltr"),
    ],
)
def test_every_block_has_its_direction(text, tag, direction):
    assert Reading(render_markdown(text)).all(tag)[0]["dir"] == direction


def test_code_shows_characters_that_would_reorder_it():
    html = render_markdown("`a\u202eb`\n\n```\nif x: \u2066# \u2069\n```\n")
    assert "a\\u202eb" in html
    assert "\\u2066# \\u2069" in html


def test_a_zero_width_non_joiner_survives():
    assert "می\u200cروم" in render_markdown("می\u200cروم `می\u200cروم`")


@pytest.mark.parametrize(
    "text",
    [
        "".join("  " * depth + f"- level{depth}\n" for depth in range(200)),
        ">" * 300 + " end",
        "[label]: https://a.example/definition",
        "word " * (MAX_FORMATTED // 4),
        "```\nnever closed",
        "<b>bold</b>",
    ],
)
def test_no_word_is_lost_for_its_form(text):
    shown = Reading(render_markdown(text)).text
    for word in text.replace(">", " ").replace("<", " ").split():
        if word.isalnum():
            assert word in shown


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_FORMATTED,
        "![a](" * (MAX_FORMATTED // 5),
        "*a **b " * (MAX_FORMATTED // 7),
        ">" * MAX_FORMATTED,
        "|" + "a|" * 5000 + "\n|" + "-|" * 5000 + "\n" + "|" + "b|" * 5000,
        "- a\n" * (MAX_FORMATTED // 4),
        "x" * MAX_FORMATTED,
        "<" * MAX_FORMATTED,
    ],
    ids=["brackets", "images", "emphasis", "quotes", "columns", "items", "line", "angles"],
)
def test_a_hostile_shape_takes_bounded_time(text):
    began = time.process_time()
    render_markdown(text)
    assert time.process_time() - began < 8


def table(columns, rows, *, prefix="", row="|"):
    lines = ["|x" * columns, "|-" * columns, *[row] * (rows - 1)]
    return "".join(f"{prefix}{line}\n" for line in lines)


@pytest.mark.parametrize("prefix", ["", "> ", " > > "])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_table_has_at_most_so_many_cells(prefix, end):
    assert "<table" in render_markdown(table(40, MAX_CELLS // 40 - 1, prefix=prefix).replace("\n", end))
    shown = render_markdown(table(40, MAX_CELLS // 40 + 1, prefix=prefix).replace("\n", end))
    assert "<table" not in shown
    assert shown.count("x") == 40


def test_many_small_tables_are_counted_together():
    shown = render_markdown((table(40, 40) + "\n") * 20)
    assert "<td" not in shown


def test_long_lines_below_a_rule_are_no_table():
    assert "<h4" in render_markdown("a title\n-------\n" + "- a | b\n" * 3000)
