"""A browser, and a house that is played: the page is the real one, over real sockets.

`test_live.py` drives the same page against the whole of Tom.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tom.testing.house import PASSWORD, House
from tom.testing.played_door import PlayedDoor, played_door
from tom.testing.simulated_llm import SimulatedLLM

ROOT = Path(__file__).resolve().parents[2]
WAIT_MS = 15_000
expect.set_options(timeout=WAIT_MS)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def door() -> Iterator[PlayedDoor]:
    """The played house, listening on loopback."""
    with played_door() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without anything that calls home.

    For one module, because Playwright's event loop stands in the way of other modules' asynchronous tests.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.fail("Chromium is not installed: scripts/provision.sh says how it comes")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_device(browser: Browser) -> Iterator[Callable[..., Page]]:
    """``open_device(url)`` opens a device of its own. Whatever the browser complains about fails the test."""
    contexts = []
    complaints: list[str] = []

    def open_(url: str, **options: Any) -> Page:
        context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        own = "/".join(url.split("/")[:3])
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: complaints.append(message.text) if _bad(message) else None)
        page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url, own) else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def press() -> Callable[[Locator], None]:
    """``press(button)``: as a person who comes to it, sees that it counts, and presses it."""

    def press_(button: Locator) -> None:
        button.scroll_into_view_if_needed()
        button.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        expect(button).to_be_enabled()
        button.click()

    return press_


@pytest.fixture
def open_page(open_device: Callable[..., Page], door: PlayedDoor) -> Callable[..., Page]:
    """``open_page(path)`` opens a device at the played house."""
    return lambda path="/", **options: open_device(door.url + path, **options)


class Neighbourhood:
    """A house in another thread, because Playwright keeps this one's event loop to itself."""

    def __init__(self, portal, house, llm):
        self.portal = portal
        self.house = house
        self.llm = llm

    def do(self, verb, *arguments):
        return self.portal.call(getattr(self.house, verb), *arguments)


@pytest.fixture(scope="module")
def neighbourhood(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    """A house of the module's own, with its ``SERVICES``."""
    with SimulatedLLM() as llm, start_blocking_portal() as portal:
        models = ["compatible/small", "compatible/medium", "compatible/large"]
        simulated = {"api": "none", "base_url": llm.url, "models": models, "timeout": 5}
        settings = {
            "global": {"llm": "simulated", "llms": {"simulated": simulated}},
            "services": request.module.SERVICES,
            "chat": {"service": {"titles": False}},  # a title is an answer of the model, too
        }
        house = House(tmp_path_factory.mktemp("live") / "house", settings, environment={"PWD": str(ROOT)})
        portal.call(house.start)
        try:
            yield Neighbourhood(portal, house, llm)
        finally:
            portal.call(house.stop)


@pytest.fixture
def llm(neighbourhood):
    neighbourhood.llm.clear()
    return neighbourhood.llm


@pytest.fixture
def come_in(neighbourhood, open_device):
    """``come_in()`` opens a device and logs in."""

    def come_in(user="alice", password=PASSWORD, **options):
        page = open_device(neighbourhood.house.url, ignore_https_errors=True, **options)
        page.get_by_label("Name").fill(user)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        return page

    return come_in


def _bad(message: Any) -> bool:
    # A socket that the test closes and a 404 that it asks for are reported as errors; a policy violation is one.
    expected = "WebSocket connection to" in message.text or "Failed to load resource" in message.text
    return message.type == "error" and not expected


def _foreign(url: str, own: str) -> bool:
    return not url.startswith((own, own.replace("http", "ws"), "data:", "blob:"))
