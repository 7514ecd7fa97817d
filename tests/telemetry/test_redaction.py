"""What is secret is not in a log, whichever way it comes."""

import json
import logging
import time
from pathlib import Path

import pytest

from tom.config.secret import Secret
from tom.config.yamltext import parse_value
from tom.telemetry import logs
from tom.telemetry.redaction import redact, telling

CASES = parse_value((Path(__file__).parent / "cases.yml").read_text(), name="cases")
log = logs.get("tools")


@pytest.mark.parametrize("case", CASES, ids=[case["text"][:30] for case in CASES])
def test_texts(case):
    assert redact(case["text"]) == case["seen"]


@pytest.mark.parametrize("name", ["password", "user_token", "clientSecret", "api", "API_KEY", "x-api-key", "Cookie"])
def test_telling_names(name):
    assert telling(name)


@pytest.mark.parametrize("name", ["prompt_tokens", "keyboard", "username", "duration_ms", "capital"])
def test_names_that_tell_nothing(name):
    assert not telling(name)


@pytest.mark.promise("P13")
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_canary_of_any_class_is_written(configured, form):
    arrived = configured(format=form, level="DEBUG")
    canary = "canary0123456789"
    with logs.bind(request_id="r", session_token=canary):
        log.info(f"message sk-{canary}", event="x", secret=Secret(canary), nested={"password": canary, "a": [1]})
        log.debug(
            "x", api_key=canary, headers={"Authorization": f"Bearer {canary}"}, url=f"http://u:{canary}@h/?k={canary}"
        )
        log.warning("x", error=ValueError(f"password={canary}"), listed=[Secret(canary), f"tom_ab_{canary}"])
    assert len(arrived.lines()) == 3
    assert canary not in arrived.getvalue()


def test_a_secret_that_the_cut_would_halve_is_hidden_first(configured):
    arrived = configured()
    log.info("x" * 8180 + " sk-" + "canary" * 10)
    assert "canary" not in arrived.getvalue() + "".join(arrived.lines())


def test_numbers_stay_numbers(configured):
    arrived = configured(format="json")
    log.info("x", keys=3, ok=True, share=0.5, nothing=None)
    record = json.loads(arrived.lines()[0])
    assert (record["keys"], record["ok"], record["share"], record["nothing"]) == (3, True, 0.5, None)


@pytest.mark.parametrize("text", ["a=" * 20_000, "sk-" * 20_000, "://" * 20_000, "eyJ." * 15_000, "tom_a" * 12_000])
def test_redacting_takes_time_in_proportion(text):
    def seconds(sample):
        started = time.process_time()
        redact(sample)
        return time.process_time() - started

    short = max(min(seconds(text[: len(text) // 10]) for _ in range(3)), 0.0002)
    assert min(seconds(text) for _ in range(3)) < 30 * short


@pytest.mark.parametrize("unit", ["a-", "eyJaaaaaaaa-", "token ", 'secret="', "password= "])
def test_a_text_that_is_eight_times_as_long_takes_about_eight_times_as_long(unit):
    def cost(size):
        text = (unit * size)[:size] + "="
        times = []
        for _ in range(3):
            began = time.process_time()
            redact(text)
            times.append(time.process_time() - began)
        return max(min(times), 1e-3)

    assert cost(64 * 1024) < 8 * 3 * cost(8 * 1024)


def test_a_secret_whose_closing_quote_was_cut_off_is_hidden():
    assert redact('user_password="canary 01') == 'user_password="***"'


def test_what_a_library_says_is_cut_before_it_is_looked_through(configured):
    arrived = configured(format="json")
    logging.getLogger("wordy").warning("x" * 2000 + " https://user:canary" + "y" * 3000 + "@host/")
    message = json.loads(arrived.lines()[0])["message"]
    assert message == "x" * 2000 + f"…(+{len(' https://user:canary@host/') + 3000})"
