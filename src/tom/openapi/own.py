"""The own things of a person: prompts and resources of services, usage, the services and their review."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import NOW
from tom.openapi.describing import (
    Content,
    Link,
    Schema,
    Told,
    answered,
    closed,
    day,
    flag,
    in_path,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    query,
    record,
    ref,
    shown,
    text,
    time,
    whole,
)

CLASSES: Final = ("read_public", "read_private", "write_own", "write_external", "destructive")
_HASH: Final = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_SERVICE: Final = in_path("name", "The service's name.", "notes")

SCHEMAS: Final[Mapping[str, Schema]] = {
    "PromptList": record({"prompts": listed(record({
        "service": text(), "name": text(), "title": text(), "description": text(),
        "arguments": listed(record({"name": text(), "description": text(), "required": flag()})),
    }, {"prompt": text("Its name at the service.")}))}),
    "ResourceList": record({"resources": listed(record({
        "service": text(), "uri": text(), "name": text(), "mime_type": nullable(text()),
    }, {
        "title": nullable(text()), "description": nullable(text()), "size": nullable(whole(minimum=0)),
        "template": flag("The URI has places to be filled in."),
    }))}),
    "UsageReport": record({
        "usage": listed(record({
            "day": day(), "prompt_tokens": whole(minimum=0), "completion_tokens": whole(minimum=0), "runs": whole(minimum=0),
        }, {"cost": number(minimum=0)})),
        "limits": listed(record({
            "name": text(), "limit": nullable(number()), "used": nullable(number()), "resets_at": nullable(time()),
        })),
    }),
    "ToolSeen": record({
        "tool": text(), "class": one_of(*CLASSES), "proposed": flag("Nobody has confirmed the class."), "outward": flag(),
        "honours_key": flag(), "held": flag("It has changed and is off."), "pin": text(), "first_seen": nullable(text()),
        "reviewed_by": nullable(text()), "reviewed_at": nullable(text()), "class_in_file": flag(),
    }),
    "ServiceList": record({"services": listed(record(
        {"name": text(), "status": text(), "tools": listed(ref("ToolSeen"))},
        {
            "enabled": flag(), "builtin": nullable(text()), "url": nullable(text()), "trust": nullable(text()),
            "revision": nullable(text("Of the protocol.")), "server": {"type": ["string", "object", "null"]},
            "error": nullable(text()), "skipped": mapping("Tool -> why it cannot be used."), "beyond": whole(minimum=0),
        },
    ))}),
    "ServiceDifferences": record({
        "service": text(),
        "changes": listed(record({
            "tool": text(), "class": one_of(*CLASSES), "seen": nullable(text("To be sent back with the review.")),
            "pinned": text(), "now": text(), "diff": listed(text()), "too_large": flag(),
        }, {"service_changed": nullable(mapping()), "server": text()})),
        "proposals": listed(record({
            "tool": text(), "class": one_of(*CLASSES), "outward": flag(), "seen": text(), "definition": text(),
        })),
    }),
    "Review": closed({"accept": {"const": True}}, {
        "tools": {"anyOf": [
            {"type": "null"}, listed(text()), mapping("Name -> the hash that was looked at.", text()),
        ]},
        "class": nullable(mapping("Name -> its class.", one_of(*CLASSES))),
        "outward": nullable(mapping("Name -> whether it writes where others see it.", flag())),
        "honours_key": nullable(mapping("Name -> whether a repeated call with the same key does nothing.", flag())),
    }),
    "Reviewed": record({"service": text(), "reviewed": listed(text())}),
}  # fmt: skip

_TOOL: Final[Mapping[str, Any]] = {
    "tool": "search", "class": "read_private", "proposed": True, "outward": False, "honours_key": False, "held": False,
    "pin": _HASH, "first_seen": NOW, "reviewed_by": None, "reviewed_at": None, "class_in_file": False,
}  # fmt: skip
_USAGE: Final[Mapping[str, Any]] = {
    "usage": [{"day": "2026-11-21", "prompt_tokens": 3000, "completion_tokens": 1200, "runs": 14}],
    "limits": [{"name": "user.tokens_per_day", "limit": 10_000_000, "used": 4200, "resets_at": "2026-11-22T00:00:00.000Z"}],
}  # fmt: skip

TOLD: Final[Mapping[str, Told]] = {
    "listPrompts": Told(
        summary="Prompts of the services",
        text="Of all services that can be reached. The WebSocket's action `prompt` uses one.",
        answers={200: answered("The prompts.", ref("PromptList"), shown("one", "One", {"prompts": [{
            "service": "notes", "name": "summary", "title": "Summary", "description": "Sum up the notes of a day.",
            "arguments": [{"name": "day", "description": "Which day.", "required": True}], "prompt": "summary",
        }]}))},
    ),
    "listResources": Told(
        summary="Resources of the services",
        text="Whose name, title, description or URI has `q` in it. A message may bring one along as an attachment.",
        parameters=(query("q", text(maxLength=200), "What is looked for.", "invoice"),),
        answers={200: answered("The resources.", ref("ResourceList"), shown("one", "One", {"resources": [{
            "service": "notes", "uri": "note://7", "name": "Invoice", "mime_type": "text/plain", "title": "Invoice",
            "description": "", "size": 120, "template": False,
        }]}))},
        refusals={422: ("validation_error",)},
    ),
    "getUsage": Told(
        summary="What was used, and what may be",
        text="By day in UTC, the last thirty unless said otherwise, 366 at most.",
        parameters=(
            query("from", day(), "The first day.", "2026-11-01"), query("to", day(), "The last day.", "2026-11-21"),
        ),
        answers={200: answered("Usage and limits.", ref("UsageReport"), shown("november", "A month", _USAGE))},
        refusals={422: ("validation_error",)},
    ),
    "listServices": Told(
        summary="The services and their tools",
        text="What each tool can do, whether somebody has confirmed that, and whether it is held because it changed.",
        answers={200: answered(
            "The services.", ref("ServiceList"),
            shown("one", "One", {"services": [{"name": "notes", "status": "connected", "tools": [_TOOL]}]}),
            links=(Link(
                name="diff",
                operation="diffService",
                text="See what changed.",
                parameters={"name": "$response.body#/services/0/name"},
            ),),
        )},
        refusals={404: ("not_found",)},
    ),
    "diffService": Told(
        summary="What changed at a service",
        text="How its tools differ from what was confirmed, and the classes that nobody has confirmed yet.",
        parameters=(_SERVICE,),
        answers={200: answered(
            "The differences.", ref("ServiceDifferences"),
            shown("proposal", "A new tool", {"service": "notes", "changes": [], "proposals": [{
                "tool": "search", "class": "read_private", "outward": False, "seen": _HASH, "definition": "{}",
            }]}),
            links=(Link(
                name="review",
                operation="reviewService",
                text="Confirm it.",
                parameters={"name": "$response.body#/service"},
                body={"accept": True},
            ),),
        )},
        refusals={404: ("service_not_found", "not_found"), 503: ("service_unavailable",)},
    ),
    "reviewService": Told(
        summary="Confirm a service's tools",
        text="As they are now, with the classes given. Admins only; on an agent alone, whoever sits at it.",
        parameters=(_SERVICE,),
        body=Content(
            schema=ref("Review"),
            examples=(
                shown("all", "All that waits for it", {"accept": True}),
                shown("one", "One, with another class", {
                    "accept": True, "tools": {"search": _HASH}, "class": {"search": "read_public"},
                }),
            ),
        ),
        body_required=True,
        answers={200: answered(
            "What was reviewed.", ref("Reviewed"), shown("one", "One", {"service": "notes", "reviewed": ["search"]})
        )},
        refusals={
            400: ("tool_not_found",), 403: ("role_not_allowed",), 404: ("service_not_found", "not_found"),
            409: ("changed_again", "managed_by_file"),
            503: ("service_unavailable",),
        },
    ),
}  # fmt: skip
