"""The page's documents, files and rendering route, through an ASGI application as the gateway mounts them."""

import asyncio
import json
import re
import threading
from html.parser import HTMLParser

import httpx2
import pytest
from starlette.applications import Starlette

from tom.gateway import page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def client():
    transport = httpx2.ASGITransport(app=Starlette(routes=page.page_routes()))
    async with httpx2.AsyncClient(transport=transport, base_url="https://tom.example") as opened:
        yield opened


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


DOCUMENTS = {
    "login": page.login_page(next_path="/", error="Invalid credentials", retry_after=4.0),
    "index": page.index_page(user="alice", banner="Restarting at noon"),
}


# --- documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_holds_nothing_inline(name):
    for tag, attributes in Tags(DOCUMENTS[name]).found:
        assert tag != "style"
        assert tag != "script" or attributes.get("src", "").startswith("/static/")
        assert not [key for key in attributes if key == "style" or key.startswith("on")]
        for key in ("src", "href", "action"):
            assert (attributes.get(key) or "/").startswith(("/", "#"))


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_every_file_that_a_document_names_is_there(client, name):
    paths = re.findall(r'"(/static/[^"]+)"', DOCUMENTS[name])
    assert paths
    for path in paths:
        assert (await client.get(path)).status_code == 200


async def test_every_module_that_a_script_imports_is_there(client):
    seen, waiting = set(), ["main.js"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = await client.get(page.static_path(name))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        waiting += re.findall(r'from "\./([a-z]+\.js)"', answer.text)
    preloaded = set(re.findall(r'modulepreload" href="/static/[0-9a-f]+/([a-z]+\.js)"', DOCUMENTS["index"]))
    assert preloaded == seen


def test_the_login_form_shows_what_it_was_given_as_text():
    html = page.login_page(next_path='/x?"><script>', error="<b>no</b>")
    assert "<script>" not in html
    assert "<b>" not in html
    fields = {attributes.get("name"): attributes for tag, attributes in Tags(html).found if tag == "input"}
    assert fields["next"]["value"] == '/x?"><script>'
    assert fields["username"]["autocomplete"] == "username"
    assert fields["password"]["type"] == "password"


def test_the_login_form_says_how_long_to_wait():
    text = " ".join(Tags(page.login_page(next_path="/", retry_after=3.2)).texts)
    assert "wait 4 seconds" in text
    assert "wait" not in " ".join(Tags(page.login_page(next_path="/")).texts)


def test_the_index_shows_person_and_banner_as_text():
    html = page.index_page(user="<i>eve</i>", banner="<i>soon</i>")
    assert "<i>" not in html
    assert "&lt;i&gt;soon" in html
    assert "eve" in html


def test_the_policy_allows_nothing_inline_and_nothing_foreign():
    assert "unsafe" not in page.CONTENT_SECURITY_POLICY
    assert "http" not in page.CONTENT_SECURITY_POLICY
    assert page.CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


# --- files -------------------------------------------------------------------------------------------------------


async def test_a_file_is_kept_for_ever_and_confirmed_by_its_tag(client):
    first = await client.get(page.static_path("tom.css"))
    assert "immutable" in first.headers["cache-control"]
    again = await client.get(page.static_path("tom.css"), headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/tom.css",
        "/static/0000000000000000/tom.css",
        page.static_path("../page.py"),
        page.static_path("..%2fpage.py"),
        page.static_path("/etc/passwd"),
        page.static_path(""),
        page.static_path("TOM.CSS"),
    ],
)
async def test_nothing_but_the_files_of_the_page_is_served(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["status"] == "ERROR"


async def test_a_head_request_has_the_headers_of_the_file(client):
    answer = await client.head(page.static_path("tom.css"))
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 1000


# --- rendering ---------------------------------------------------------------------------------------------------


async def test_texts_are_rendered_in_order(client):
    answer = await client.post("/page/render", json={"markdown": ["*a*", "", "**b**"]})
    assert answer.status_code == 200
    first, empty, last = answer.json()["html"]
    assert "<em>a</em>" in first
    assert empty == ""
    assert "<strong>b</strong>" in last
    assert answer.headers["cache-control"] == "no-store"


async def test_broken_surrogates_do_not_break_the_answer(client):
    body = b'{"markdown": ["a \\ud83d b"]}'
    answer = await client.post("/page/render", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["html"] == ['<p dir="auto">a ? b</p>\n']


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"markdown": "text"}', 400),
        (b'{"markdown": [1]}', 400),
        (b'{"markdown": {"0": "a"}}', 400),
        (json.dumps({"markdown": ["a"] * 51}).encode(), 400),
        (b"[" * 100_000, 400),
        (json.dumps({"markdown": ["a" * (1024 * 1024 + 1)]}).encode(), 413),
        (json.dumps({"markdown": ["é" * (512 * 1024 + 1)]}, ensure_ascii=False).encode(), 413),
        (b" " * (7 * 1024 * 1024), 413),
    ],
)
async def test_a_bad_body_is_refused(client, body, status):
    answer = await client.post("/page/render", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert set(answer.json()) == {"status", "message", "request_id"}


async def test_only_json_is_rendered(client):
    answer = await client.post("/page/render", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert (await client.get("/page/render")).status_code == 405


async def test_a_full_megabyte_is_answered(client):
    texts = ["- a\n" * 5000] * 50
    answer = await client.post("/page/render", json={"markdown": texts}, timeout=60)
    assert answer.status_code == 200
    assert all("a" in html for html in answer.json()["html"])


async def test_one_request_is_rendered_at_a_time_and_few_wait(client, monkeypatch):
    rendering, most, go_on = [], [], threading.Event()

    def slow(text):
        rendering.append(text)
        most.append(len(rendering))
        go_on.wait(10)
        rendering.remove(text)
        return f"formed {text}"

    monkeypatch.setattr(page, "render_markdown", slow)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        asked = [group.create_task(client.post("/page/render", json={"markdown": [str(n)]})) for n in range(12)]
        await asyncio.wait(asked[-3:])
        assert not any(task.done() for task in asked[:9])
        go_on.set()
    answers = [task.result().json()["html"][0] for task in asked]
    assert answers[:9] == [f"formed {n}" for n in range(9)]
    assert not any("formed" in html for html in answers[9:])
    assert max(most) == 1


async def test_a_body_that_does_not_arrive_is_not_waited_for(client, monkeypatch):
    monkeypatch.setattr(page, "_BODY_SECONDS", 0.05)

    async def stalled():
        yield b"{"
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        answer = await client.post("/page/render", content=stalled(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 408


# --- colours -----------------------------------------------------------------------------------------------------


def test_text_stands_out_from_its_ground_in_both_schemes(repository):
    sheet = (repository / "src/tom/gateway/static/tom.css").read_text()
    light = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", sheet.split("@media")[0]))
    dark = light | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", sheet.split("@media")[1]))
    pairs = [
        *((ink, ground) for ink in ("ink", "soft", "accent") for ground in ("paper", "raised", "sunken", "tint")),
        ("amber", "amber-tint"), ("red", "red-tint"), ("ink", "red-tint"), ("accent-ink", "accent"), ("red", "raised"),
    ]  # fmt: skip
    for colours in (light, dark):
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
