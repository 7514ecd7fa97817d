"""The reference page is what the sections say."""

from tom.config.reference import page


def test_the_page_is_up_to_date(repository):
    stale = "run: python -m tom.config.reference"
    assert (repository / "docs/reference/configuration.md").read_text() == page(), stale


def test_every_key_has_a_type_and_a_meaning():
    rows = [
        line.split(" | ")
        for line in page().partition("## Variables")[0].splitlines()
        if line.startswith("| `") and line.count(" | ") == 3
    ]
    assert len(rows) > 90
    for key, kind, _, meaning in rows:
        assert kind not in {"", "any"}, key
        assert meaning.removesuffix(" |").strip(), key
