"""One share of the cases: schemathesis in a process of its own, against one server.

``python shard.py WISH`` with WISH in JSON: ``url``, ``headers``, ``operations`` (none: all), ``phases``, ``examples``,
``steps``, ``seed``. The last line printed is the outcome in JSON: how many cases were answered, and what was wrong.
"""

import json
import sys
import urllib.request
from collections import Counter
from functools import cache

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

MOST_TOLD = 60
STREAMED = {"sendMessage", "retryRun"}
ANSWERED_ON_PURPOSE = ["2xx", "400", "401", "403", "404", "409", "410", "413", "415", "422", "503"]
"""What data that fit the schema may be answered: settings, what is there and what is missing have their say, too."""


@schemathesis.hook
def before_call(context, case, kwargs):
    """Have every fourth reply streamed."""
    if case.operation.definition.raw.get("operationId") in STREAMED and int(case.id, 36) % 4 == 0:
        case.headers["Accept"] = "text/event-stream"


def main(wish):
    """Make the cases; returns the outcome."""
    document = _closed(_fetched(f"{wish['url']}/openapi.json"))
    schema = schemathesis.openapi.from_dict(document, config=_config(wish))
    schema.config.update(base_url=wish["url"])
    if wish.get("operations"):
        schema = schema.include(operation_id=wish["operations"])
    answered, streams, retries, codes, wrong, errors = 0, 0, 0, Counter(), {}, []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for case_id, interaction in event.recorder.interactions.items():
                if interaction.response is not None:
                    answered += 1
                    codes[interaction.response.status_code] += 1
                    retries += interaction.request.uri.endswith("/retry") and bool(interaction.request.body)
                    streams += any(
                        "event-stream" in kind for kind in interaction.response.headers.get("content-type", ())
                    )
                else:
                    errors.append(
                        f"no answer: {event.label} {interaction.request.method} {interaction.request.uri}"[:300]
                    )
                _collect(event, case_id, interaction, wrong)
        elif isinstance(event, events.NonFatalError):
            errors.append(f"{event.label}: {event.value}"[:1500])
        elif isinstance(event, events.FatalError):
            errors.append(f"fatal: {event.exception}"[:1500])
    told = {"wrong": list(wrong.values())[:MOST_TOLD], "errors": errors[:20]}
    return {"answered": answered, "streams": streams, "retries": retries, "codes": codes, **told}


def _collect(event, case_id, interaction, wrong):
    for check in event.recorder.checks.get(case_id, ()):
        if check.failure_info is None:
            continue
        failure = check.failure_info.failure
        case = event.recorder.cases[case_id].value
        key = (check.name, case.operation.label, failure.title, failure.message[:80])
        if key in wrong:
            wrong[key]["times"] += 1
            continue
        body = interaction.request.body
        wrong[key] = {
            "check": check.name,
            "operation": case.operation.label,
            "phase": str(event.phase),
            "title": failure.title,
            "message": failure.message[:600],
            "request": f"{interaction.request.method} {interaction.request.uri} {str(body)[:300] if body else ''}",
            "answer": f"{interaction.response.status_code} {interaction.response.content[:300]!r}"
            if interaction.response
            else "",
            "times": 1,
        }


def _config(wish):
    generation = {"max-examples": wish["examples"], "mode": "all", "no-shrink": True, "database": "none"}
    phases = {name: {"enabled": name in wish["phases"]} for name in ("examples", "coverage", "fuzzing", "stateful")}
    phases["stateful"]["max-steps"] = wish.get("steps", 6)
    return SchemathesisConfig.from_dict(
        {
            "seed": wish["seed"],
            "headers": wish["headers"],
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 60,
            "generation": generation,
            "phases": phases,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ANSWERED_ON_PURPOSE},
                "ignored_auth": {"enabled": wish.get("token_needed", False)},
            },
        }
    )


def _fetched(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def _closed(document):
    """The document with what answers have closed: in a published one later versions may add, here every key is told."""
    asked = _reached(document, [one.get("requestBody", {}) for one in _operations(document)])
    _close(
        {
            "responses": [one["responses"] for one in _operations(document)],
            "common": document["components"]["responses"],
        }
    )
    for name, schema in document["components"]["schemas"].items():
        if name not in asked:
            _close(schema)
    wait = next(
        p for p in document["paths"]["/sessions/{session_id}/events"]["get"]["parameters"] if p["name"] == "wait"
    )
    wait["schema"] = {"type": "integer", "enum": [0]}  # a wait that is granted would be waited for
    return document


def _operations(document):
    return [one for methods in document["paths"].values() for one in methods.values()]


def _close(value):
    if isinstance(value, list):
        for one in value:
            _close(one)
    elif isinstance(value, dict):
        if value.get("type") == "object" and "properties" in value:
            value.setdefault("additionalProperties", False)
        for key, one in value.items():
            if key not in {"example", "examples", "value"}:
                _close(one)


def _reached(document, values):
    """The names of the schemas that ``values`` lead to."""
    found, left = set(), [json.dumps(values)]
    while left:
        for name in _named(left.pop()) - found:
            found.add(name)
            left.append(json.dumps(document["components"]["schemas"][name]))
    return found


@cache
def _named(text):
    return {piece.partition('"')[0] for piece in text.split("#/components/schemas/")[1:]}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
