"""Markdown of a reply as HTML that is safe to show.

Two walls, one behind the other: the parser knows no raw HTML, and what it renders passes a sanitiser with a closed
list of elements and attributes. Between them the tokens are made fit for a conversation: headings start below the
page's own, links name their host and open elsewhere, remote images become links, and every block has a direction.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

MAX_FORMATTED: Final = 128 * 1024
"""Characters up to which a text is read as Markdown; a longer one is shown as the plain text it is."""
MAX_CELLS: Final = 2000
"""Table cells up to which a text is read as Markdown: a row of one character may stand for hundreds of cells."""
_MAX_NESTING: Final = 40

_TAGS: Final = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote",
    "div", "table", "thead", "tbody", "tr", "th", "td", "a", "span",
}  # fmt: skip
_DIRECTED: Final = ("p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "div", "table", "th", "td")
_DIRECTIONS: Final = {"auto", "ltr", "rtl"}
_SCHEMES: Final = {"http", "https", "mailto"}
_SANITISER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "pre": {"data-language"}},
    tag_attribute_values={tag: {"dir": _DIRECTIONS} for tag in _DIRECTED},
    allowed_classes={"span": {"host"}, "div": {"wide"}, "th": {"to-center", "to-end"}, "td": {"to-center", "to-end"}},
    set_tag_attribute_values={"a": {"target": "_blank"}, "code": {"dir": "ltr"}, "pre": {"dir": "ltr"}},
    link_rel="noopener noreferrer",
    url_schemes=_SCHEMES,
    url_relative="deny",
)

_LEAVES: Final = {"paragraph_open", "heading_open", "th_open", "td_open"}
_CONTAINERS: Final = {"bullet_list_open", "ordered_list_open", "list_item_open", "blockquote_open", "table_open"}
_ENDS: Final = {name.replace("_open", "_close") for name in _CONTAINERS}
_ALIGNMENTS: Final = {"text-align:center": "to-center", "text-align:right": "to-end"}
_HIDDEN: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")
_ADDRESS: Final = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}")
_LINE_END: Final = re.compile(r"\r\n?|\n")
_RULE: Final = re.compile(r"[ \t>]*([-:|][-:| \t]*)")
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9+#.\-]{1,32}")


def render_markdown(text: str) -> str:
    """Render ``text`` (CommonMark with tables and strikethrough) as a sanitised HTML fragment.

    No word is lost for its form: a text longer than `MAX_FORMATTED` characters, with tables of more than `MAX_CELLS`
    cells, nested deeper than the parser goes, or made of link definitions alone, is shown as plain paragraphs.
    """
    if len(text) > MAX_FORMATTED or _count_cells(text) > MAX_CELLS:
        return render_plain(text)
    parser = _parser()
    tokens = parser.parse(text)
    if not tokens or any(token.level >= _MAX_NESTING - 1 for token in tokens):
        return render_plain(text)
    for token in tokens:
        _shape(token)
    _direct(tokens)
    return _SANITISER.clean(parser.renderer.render(tokens, parser.options, {}))


def render_plain(text: str) -> str:
    """Render ``text`` as paragraphs of what it literally says."""
    paragraphs = (escape(part).replace("\n", "<br>") for part in text.split("\n\n") if part.strip())
    return _SANITISER.clean("".join(f'<p dir="auto">{part}</p>' for part in paragraphs))


def show_hidden(text: str) -> str:
    """Spell out the characters that reorder text unseen, so that code reads as it will run."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _count_cells(text: str) -> int:
    """How many cells the tables of a text have at most: every line below a table's rule has all its columns.

    A table is over at an empty line; where it ends earlier the count is too high, never too low.
    """
    cells = columns = 0
    above = ""
    for line in _LINE_END.split(text):
        rule = _RULE.fullmatch(line) if "|" in above else None
        if not line.strip(" \t>"):
            columns = 0
        elif rule:
            columns = max(columns, rule[1].strip(" \t|").count("|") + 1)
        cells += columns
        above = line
    return cells


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "maxNesting": _MAX_NESTING}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    return parser


def _open_table(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    """A wide table scrolls in a box of its own."""
    direction = tokens[index].attrGet("dir") or "auto"
    return f'<div class="wide" dir="{direction}">{renderer.renderToken(tokens, index, options, env)}'


def _close_table(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    return f"{renderer.renderToken(tokens, index, options, env)}</div>\n"


def _shape(token: Token) -> None:
    """Make one block token fit for a conversation, in place."""
    match token.type:
        case "heading_open" | "heading_close":
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        case "th_open" | "td_open":
            alignment = _ALIGNMENTS.get(str(token.attrGet("style")))
            token.attrs = {"class": alignment} if alignment else {}
        case "inline":
            token.children = _shape_inline(token.children or [])
        case "fence" | "code_block":
            language = _LANGUAGE.match(token.info.strip())
            label = f' data-language="{escape(language.group())}"' if language else ""
            token.content = f"<pre{label}><code>{escape(show_hidden(token.content))}</code></pre>\n"
            token.type = "html_block"
        case _:
            pass


def _shape_inline(children: list[Token]) -> list[Token]:
    shaped: list[Token] = []
    links: list[tuple[str, int] | None] = []
    for child in children:
        match child.type:
            case "link_open":
                links.append(_open_link(shaped, str(child.attrGet("href"))))
            case "link_close":
                _close_link(shaped, links.pop())
            case "image":
                _show_image(shaped, child, inside_link=any(links))
            case "code_inline":
                child.content = show_hidden(child.content)
                shaped.append(child)
            case _:
                shaped.append(child)
    return shaped


def _open_link(shaped: list[Token], href: str) -> tuple[str, int] | None:
    """Begin a link. None when it leads nowhere one may go: then only its text remains."""
    if not _host(href):
        return None
    shaped.append(Token("link_open", "a", 1, attrs={"href": href}))
    return href, len(shaped)


def _close_link(shaped: list[Token], link: tuple[str, int] | None) -> None:
    if link is None:
        return
    href, start = link
    shown = "".join(token.content for token in shaped[start:])
    if shown != href:
        shaped.append(_raw(f' <span class="host">{escape(_host(href))}</span>'))
    shaped.append(Token("link_close", "a", -1))


def _show_image(shaped: list[Token], image: Token, *, inside_link: bool) -> None:
    """Nothing is fetched from elsewhere unasked: an image is its description, and a link to it."""
    description = Token("text", "", 0, content=f"🖼 {image.content or 'image'}")
    link = None if inside_link else _open_link(shaped, str(image.attrGet("src")))
    shaped.append(description)
    _close_link(shaped, link)


def _raw(html: str) -> Token:
    return Token("html_inline", "", 0, content=html)


def _host(href: str) -> str:
    """Where a link leads, as shown to people; empty when it may not be followed.

    Addresses that people and browsers may read differently (credentials in front of the host, numbers in disguise,
    escaped characters) lead nowhere.
    """
    try:
        parts = urlsplit(href)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme == "mailto":
        return parts.path
    if parts.scheme not in _SCHEMES or "@" in parts.netloc:
        return ""
    if ":" in host:
        host = f"[{host}]"
    elif not _HOST.fullmatch(host) or (_NUMBER.fullmatch(host.rpartition(".")[2]) and not _ADDRESS.fullmatch(host)):
        return ""
    return f"{host}:{port}" if port else host


def _direct(tokens: list[Token]) -> None:
    """Give every block its direction.

    Leaves leave it to the browser (``auto``). A container cannot, because a browser looks past children that have a
    direction of their own: lists, quotes and tables take that of the first strong character inside.
    """
    undecided: list[Token] = []
    for token in tokens:
        if token.type in _LEAVES:
            token.attrSet("dir", "auto")
        elif token.type in _CONTAINERS:
            token.attrSet("dir", "auto")
            undecided.append(token)
        elif token.type in _ENDS:
            undecided.pop()
        elif token.type == "inline" and any(token.attrGet("dir") == "auto" for token in undecided):
            direction = _direction("".join(child.content for child in token.children or () if child.type == "text"))
            for container in undecided:
                if direction and container.attrGet("dir") == "auto":
                    container.attrSet("dir", direction)


def _direction(text: str) -> str:
    for character in text:
        match unicodedata.bidirectional(character):
            case "L":
                return "ltr"
            case "R" | "AL":
                return "rtl"
            case _:
                pass
    return ""
