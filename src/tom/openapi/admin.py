"""The admin routes: the bypass list, what runs, whose sessions there are, settings."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import ID, NOW
from tom.openapi.describing import (
    Answer,
    Content,
    Link,
    Parameter,
    Schema,
    Told,
    answered,
    closed,
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

_PAGE: Final[tuple[Parameter, ...]] = (
    query("limit", whole(minimum=1, maximum=200, default=50), "How many at most.", 50),
    query("offset", whole(minimum=0, default=0), "How many are passed over.", 0),
)
_BAD_PAGE: Final = ("invalid_limit", "invalid_offset")
_SESSION: Final = in_path("session_id", "The session's id.", ID)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "BypassEntry": record({"ip": text(), "note": nullable(text()), "created_at": time(), "expires_at": nullable(time())}),
    "BypassList": {"anyOf": [listed(text()), listed(ref("BypassEntry"))]},
    "NewBypass": closed({"ip": text("An address or a network, at most a /16 or /48.", minLength=1, maxLength=64)}, {
        "note": nullable(text(maxLength=200)), "expires_at": nullable(text("RFC 3339.", format="date-time")),
    }),
    "Bypassed": record({"ip": text("As it is compared.")}),
    "Runtime": record({
        "provider": record({
            "default": text(), "available": listed(text()), "llm_provider": text(), "uses_openrouter": flag(),
            "default_model": nullable(text()), "openrouter_base_url": nullable(text()), "mcp_servers_configured": flag(),
            "mcp_servers_active": flag(), "mcp_server_names": listed(text()), "mcp_servers_required_minimum": whole(),
        }),
        "memory": record({
            "backend": one_of("sqlite", "memory", "redis"), "default_limit": whole(minimum=1), "max_limit": whole(minimum=1),
        }),
        "history": record({
            "configured_backend": text(), "backend": text(), "enabled": flag(), "namespace": text(),
            "lag_seconds": nullable(number(minimum=0)),
        }),
        "rate_limit": record({"backend": one_of("local", "redis"), "rps": nullable(number()), "burst": nullable(whole())}),
        "version": text(), "started_at": time(),
    }),
    "AdminSession": record({
        "id": text(), "user": text(), "state": one_of("idle", "running", "waiting"),
        "memory_limit": nullable(whole(minimum=1)), "created_at": time(), "updated_at": time(), "metadata": mapping(),
    }),
    "AdminSessionList": record({
        "sessions": listed(ref("AdminSession")), "limit": whole(), "offset": whole(), "count": whole(minimum=0),
    }, {"asleep": listed(text(), "Users whose agents do not run.")}),
    "AdminMessages": listed(record({"role": text(), "content": text(), "created_at": time()})),
    "ArchivedSessions": record({
        "sessions": listed(mapping()), "limit": whole(), "offset": whole(), "count": whole(minimum=0),
        "total": whole(minimum=0),
    }),
    "ArchivedMessages": record({
        "session_id": text(), "messages": listed(record({
            "role": text(), "content": text(), "created_at": text(), "stored_at": text(),
        })), "limit": whole(), "offset": whole(), "count": whole(minimum=0),
    }),
    "EffectiveSettings": mapping("Key -> its value and where it comes from; secrets are `***`."),
    "SettingChange": closed({"field": text(minLength=1, maxLength=200), "value": {}}),
    "ChangedSetting": record({"field": text(), "value": {}}, additionalProperties=True),
    "Restarting": record({"status": text()}, additionalProperties=True),
}  # fmt: skip

_RUNTIME: Final[Mapping[str, Any]] = {
    "provider": {
        "default": "mcp-agent", "available": ["openai"], "llm_provider": "openai", "uses_openrouter": False,
        "default_model": "gpt-4.1", "openrouter_base_url": None, "mcp_servers_configured": True,
        "mcp_servers_active": True, "mcp_server_names": ["notes"], "mcp_servers_required_minimum": 1,
    },
    "memory": {"backend": "sqlite", "default_limit": 10, "max_limit": 50},
    "history": {
        "configured_backend": "none", "backend": "none", "enabled": False, "namespace": "chat_history",
        "lag_seconds": None,
    },
    "rate_limit": {"backend": "local", "rps": 1.0, "burst": 5}, "version": "0.4.0", "started_at": NOW,
}  # fmt: skip
_ENTRY: Final[Mapping[str, Any]] = {"ip": "10.0.0.5", "note": "monitoring", "created_at": NOW, "expires_at": None}
_LISTED: Final[Mapping[str, Any]] = {
    "id": ID, "user": "alice", "state": "idle", "memory_limit": 10, "created_at": NOW, "updated_at": NOW, "metadata": {},
}  # fmt: skip
_SAID: Final[Mapping[str, Any]] = {"role": "user", "content": "Hello", "created_at": NOW}
_LINK: Final = Link(
    name="remove", operation="removeBypass", text="Take it off again.", parameters={"ip": "$response.body#/ip"}
)


def _put(description: str, name: str) -> Answer:
    contents = (Content(schema=ref("Bypassed"), examples=(shown(name, "As compared", {"ip": "10.0.0.5"}),)),)
    return Answer(text=description, contents=contents, links=(_LINK,))


TOLD: Final[Mapping[str, Told]] = {
    "listBypass": Told(
        summary="Who is not limited",
        text="Addresses and networks that the limit by address passes over. Quotas hold for everybody.",
        parameters=(query("details", flag(), "With notes and dates.", example=True),),
        answers={200: answered(
            "The list, sorted.", ref("BypassList"), shown("plain", "Addresses", ["10.0.0.5"]),
            shown("details", "With details", [_ENTRY]),
        )},
        refusals={422: ("validation_error",)},
    ),
    "addBypass": Told(
        summary="Put an address on the list",
        text="It stays there when Tom is started again. `::ffff:1.2.3.4` is `1.2.3.4`.",
        body=Content(
            schema=ref("NewBypass"),
            examples=(shown("address", "One address", {"ip": "10.0.0.5", "note": "monitoring"}),),
        ),
        body_required=True,
        answers={200: _put("It was there already.", "again"), 201: _put("It is on the list.", "added")},
        refusals={400: ("invalid_ip", "network_too_wide")},
    ),
    "removeBypass": Told(
        summary="Take an address off the list",
        text="A network is written with its slash, encoded or not.",
        parameters=(in_path("ip", "The address or network.", "10.0.0.5"),),
        answers={204: Answer(text="It is off.")},
        refusals={400: ("invalid_ip",), 404: ("bypass_not_found", "not_found")},
    ),
    "getRuntime": Told(
        summary="What is running",
        text="Provider, memory, archive and limits as they are in force. Never a key.",
        answers={200: answered("As it is.", ref("Runtime"), shown("runtime", "An installation", _RUNTIME))},
    ),
    "listAllSessions": Told(
        summary="Everybody's sessions",
        text="Whose they are and how they stand, never what was said. Behind a gateway: of the agents that run.",
        parameters=(*_PAGE, query("state", one_of("idle", "running", "waiting"), "Only those.", "running")),
        answers={200: answered("A page of them.", ref("AdminSessionList"), shown("page", "One", {
            "sessions": [_LISTED], "limit": 50, "offset": 0, "count": 1,
        }))},
        refusals={400: _BAD_PAGE, 422: ("validation_error",)},
    ),
    "listSessionMessages": Told(
        summary="What was said in a session",
        text="Only where nobody's privacy is at stake: in the modes `public` and `local`.",
        parameters=(_SESSION,),
        answers={200: answered("The messages.", ref("AdminMessages"), shown("one", "One", [_SAID]))},
        refusals={403: ("private_conversations",), 404: ("session_not_found",)},
    ),
    "listArchivedSessions": Told(
        summary="Sessions of the archive",
        text="Filtered before paged. An archive of kind `none` has none.",
        parameters=(
            *_PAGE,
            query("start_date", text(), "RFC 3339, or a day in UTC.", "2026-11-01"),
            query("end_date", text(), "The last day, included.", "2026-11-30"),
        ),
        answers={200: answered("A page of them.", ref("ArchivedSessions"), shown("none", "None", {
            "sessions": [], "limit": 50, "offset": 0, "count": 0, "total": 0,
        }))},
        refusals={400: (*_BAD_PAGE, "invalid_date"), 503: ("archive_unavailable",)},
    ),
    "listArchivedMessages": Told(
        summary="What the archive has of a session",
        text="Only where nobody's privacy is at stake: in the modes `public` and `local`.",
        parameters=(_SESSION, *_PAGE),
        answers={200: answered("A page of them.", ref("ArchivedMessages"), shown("page", "One", {
            "session_id": ID, "messages": [{**_SAID, "stored_at": NOW}], "limit": 50, "offset": 0, "count": 1,
        }))},
        refusals={
            400: _BAD_PAGE, 403: ("private_conversations",), 404: ("session_not_found",), 503: ("archive_unavailable",),
        },
    ),
    "getConfig": Told(
        summary="The settings in force",
        text="Each with the place it comes from.",
        answers={200: answered("The settings.", ref("EffectiveSettings"), shown("one", "One of them", {
            "rate_limits.rps": {"value": 1.0, "source": "default"},
        }))},
    ),
    "changeConfig": Told(
        summary="Change a limit, or how much is logged",
        text="Only what can change while Tom runs. No command, path, key or URL can be written here.",
        body=Content(
            schema=ref("SettingChange"), examples=(shown("level", "More in the log", {"field": "log_level", "value": "DEBUG"}),)
        ),
        body_required=True,
        answers={200: answered(
            "It is in force.", ref("ChangedSetting"), shown("level", "Changed", {"field": "log_level", "value": "DEBUG"})
        )},
        refusals={400: ("invalid_field",), 422: ("invalid_value",)},
    ),
    "restart": Told(
        summary="Start Tom again",
        text="What runs is ended or parked first. Only where something starts it again.",
        answers={202: answered("It is ending.", ref("Restarting"), shown("restarting", "Soon", {"status": "restarting"}))},
        refusals={409: ("not_supervised",)},
    ),
}  # fmt: skip
