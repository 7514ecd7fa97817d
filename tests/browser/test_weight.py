"""What the page weighs, and that a long answer is no heavy one."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MOST_BYTES = 300_000


def test_the_first_load_is_light(door, open_page):
    page = open_page("/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    sizes = page.evaluate("performance.getEntriesByType('resource').map(e => e.decodedBodySize)")
    assert len(sizes) > 20
    assert sum(sizes) < MOST_BYTES  # before any compression
    assert door.actions("subscribe")[0]["payload"] == {"conversation_id": "*"}
