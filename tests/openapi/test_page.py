"""The page shows the whole document, loads nothing, and runs nothing."""

import base64
import hashlib
import re

from tom.openapi import page
from tom.openapi.document import document
from tom.openapi.operations import GATEWAY, OPERATIONS


def text():
    return page.rendered().decode()


def test_every_operation_and_every_shape_has_its_place():
    shown = set(re.findall(r' id="([^"]+)"', text()))
    assert {row.name for row in (*OPERATIONS, *GATEWAY)} <= shown
    assert {f"shape-{name}" for name in document()["components"]["schemas"]} <= shown
    assert len(re.findall(r' id="', text())) == len(shown)


def test_every_link_leads_to_a_place_of_the_page_or_to_the_document():
    shown = set(re.findall(r' id="([^"]+)"', text()))
    for target in re.findall(r' href="([^"]+)"', text()):
        assert target in {"/openapi.json", "data:,"} or target.removeprefix("#") in shown, target


def test_nothing_is_run_and_nothing_is_loaded():
    assert not re.search(r"<(script|img|iframe|object|embed|form|base)\b|\bon\w+=|javascript:|@import|url\(", text())
    assert re.findall(r"<link [^>]*>", text()) == ['<link rel="icon" href="data:,">']
    assert not re.search(r'(src|href|action)="(https?:)?//', text())


def test_the_policy_lets_its_own_style_sheet_pass_and_nothing_else():
    (style,) = re.findall(r"<style>(.*?)</style>", text(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.policy()
    assert page.policy().startswith("default-src 'none'; ")
    assert "unsafe" not in page.policy()
    assert ' style="' not in text()


def test_every_operation_shows_how_it_is_called_and_what_may_go_wrong():
    articles = re.findall(r'<article id="(\w+)">(.*?)</article>', text(), re.DOTALL)
    assert {name for name, _ in articles} == {row.name for row in (*OPERATIONS, *GATEWAY)}
    for name, article in articles:
        assert "curl " in article, name
        assert "<summary>Errors</summary>" in article, name


def test_it_can_be_walked_through_without_a_mouse_or_eyes():
    assert '<html lang="en">' in text()
    assert '<a class="skip" href="#content">' in text()
    assert text().count("<h1>") == 1
    assert 'name="viewport"' in text()
    assert all('tabindex="0"' in opened for opened in re.findall(r"<pre[^>]*>", text()) if "class" in opened)
    assert "prefers-color-scheme: dark" in text()
