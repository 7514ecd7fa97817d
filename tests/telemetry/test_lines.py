"""The form of a log line."""

import json
import re

import pytest

from tom.telemetry import logs

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| (.{8}) \| (.{12}) \| (.{15}) \| (.*)")
log = logs.get("llm")


def test_the_columns_have_their_widths(configured):
    arrived = configured()
    with logs.bind(user="alice"):
        log.info("✅ Configured LLM 'openai' with models: ['openai/gpt-4o-mini']")
    (line,) = arrived.lines()
    assert line[23:] == (
        " | INFO     | alice        | llm             | ✅ Configured LLM 'openai' with models: ['openai/gpt-4o-mini']"
    )
    assert LINE.fullmatch(line)


def test_long_names_are_cut_and_missing_ones_are_system(configured):
    arrived = configured()
    logs.get("a-module-with-a-long-name").warning("x")
    with logs.bind(user="a-user-with-a-long-name"):
        log.error("x")
    columns = [LINE.fullmatch(line).groups() for line in arrived.lines()]
    assert columns == [
        ("WARNING ", "system      ", "a-module-with-a", "x"),
        ("ERROR   ", "a-user-with-", "llm            ", "x"),
    ]


def test_a_program_of_one_user_names_them(configured):
    arrived = configured(user="alice")
    log.info("x")
    assert "| alice        |" in arrived.lines()[0]


def test_seconds_and_zone_are_a_choice(configured):
    arrived = configured(timestamps="seconds", timezone="Asia/Kathmandu")
    log.info("x")
    stamp, _, _ = arrived.lines()[0].partition(" | ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stamp)
    arrived.truncate(0)
    arrived.seek(0)
    configured(timestamps="seconds")
    log.info("x")
    utc, _, _ = arrived.lines()[0].partition(" | ")
    assert stamp[14:16] != utc[14:16]  # 5 h 45 min apart


def test_the_threshold_holds(configured):
    arrived = configured(level="warning")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.error("yes")
    assert len(arrived.lines()) == 2


def test_unknown_settings_are_refused(configured):
    with pytest.raises(ValueError, match="unknown log level"):
        configured(level="LOUD")
    with pytest.raises(ValueError, match="unknown time zone"):
        configured(timezone="Mars/Olympus")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\nb\r\n\tc", r"a\nb\r\n\tc"),
        ("\x1b[31mred\x07", r"\u001b[31mred\u0007"),
        ("a\u202eb\u2066c\u200bd\ufeffe\u2028f\u061c", r"a\u202eb\u2066c\u200bd\ufeffe\u2028f\u061c"),
        ("\ud800 lone", r"\ud800 lone"),
        ("tag \U000e0041", r"tag \udb40\udc41"),
        ("\x85 \x9b", r"\u0085 \u009b"),
        ("⚠️ سلام – 你好 🚀", "⚠️ سلام – 你好 🚀"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_one_record_is_one_line_that_hides_nothing(configured, text, seen, form):
    arrived = configured(format=form)
    with logs.bind(user="u\n2025-01-15 10:30:45.123 | INFO"):
        log.info(f"x {text}")
    (line,) = arrived.lines()
    if form == "text":
        assert line.endswith(f"x {seen}")
        assert r"u\n2025-01-1 |" in line
    else:
        assert json.loads(line)["message"] == f"x {text}"
        assert line.isprintable()


def test_a_long_message_is_cut_with_a_mark(configured):
    arrived = configured()
    log.info("é" * 10_000)
    log.info("x" * 8192)
    log.info("y" * 1_000_000)
    first, second, third = (line.split(" | ", 4)[4] for line in arrived.lines())
    assert first == "é" * 4096 + "…(+11808)"
    assert second == "x" * 8192
    assert third == "y" * 8192 + f"…(+{1_000_000 - 8192})"


def test_fields_and_the_request_follow_the_message(configured):
    arrived = configured()
    with logs.bind(request_id="r-1", run_id="run-1"), logs.bind(conversation_id="c-1", user=None):
        log.info("📤 answered 200", event="request_completed", status_code=200, duration_ms=4.5, none=None)
    assert arrived.lines()[0].endswith("| 📤 answered 200 · request_id=r-1 duration_ms=4.5")


def test_an_exception_is_told_on_one_line_with_its_places(configured):
    arrived = configured()

    def broken():
        raise ValueError("line one\nline two sk-abcdefgh1234")

    try:
        broken()
    except ValueError as error:
        log.error("❌ failed", error=error)
    (line,) = arrived.lines()
    assert r"❌ failed · error=ValueError: line one\nline two *** at test_lines.py:" in line
    assert "in broken < test_lines.py:" in line


def test_json_has_the_names_in_full_and_its_time_in_utc(configured):
    arrived = configured(format="json", timezone="Asia/Kathmandu")
    with logs.bind(user="a-user-with-a-long-name", request_id="r", run_id="u", conversation_id="c"):
        logs.get("a-module-with-a-long-name").warning("⚠️ low disk", event="low_disk", free=3, levels=(1, "a"))
    (line,) = arrived.lines()
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "level": "WARNING",
        "user": "a-user-with-a-long-name",
        "module": "a-module-with-a-long-name",
        "logger": "a-module-with-a-long-name",
        "message": "low disk",
        "icon": "⚠️",
        "event": "low_disk",
        "request_id": "r",
        "run_id": "u",
        "conversation_id": "c",
        "free": 3,
        "levels": "1, a",
    }


def test_a_field_never_replaces_what_the_line_is_about(configured):
    arrived = configured(format="json")
    log.info("x", level="CRITICAL", module="other")
    record = json.loads(arrived.lines()[0])
    assert (record["level"], record["module"]) == ("INFO", "llm")
