"""Conversations, which this door calls sessions: opening, listing, reading, changing and erasing them; their files; what leaves and enters Tom with them."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.describing import (
    Answer,
    Content,
    Link,
    Schema,
    Told,
    answered,
    closed,
    flag,
    in_path,
    listed,
    mapping,
    nullable,
    one_of,
    query,
    record,
    ref,
    shown,
    text,
    time,
    whole,
)
from tom.openapi.faults import FIELD_ERRORS

ID: Final = "01K9ZQ4T8M5Y7W2E6R3A1B0C9D"
NOW: Final = "2026-11-21T17:05:00.123Z"
DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SESSION: Final = in_path("session_id", "The session's id. Somebody else's is not found.", ID)

_STATE: Final = one_of("idle", "running", "waiting", description="`waiting`: a person is asked something.")
_LIMIT: Final = nullable(whole("How many messages a prompt has; null: the server's default.", minimum=1))
_METADATA: Final = mapping("What the client keeps beside it, at most 16 KiB of JSON.")

SCHEMAS: Final[Mapping[str, Schema]] = {
    "NewSession": closed({}, {
        "memory_limit": whole("How many messages a prompt may have.", minimum=1),
        "metadata": _METADATA,
    }),
    "OpenedSession": record({"id": text(), "memory_limit": whole(minimum=1), "created_at": time(), "metadata": mapping()}),
    "SessionSummary": record({
        "id": text(), "title": text(), "memory_limit": _LIMIT, "created_at": time(), "updated_at": time(),
        "last_seq": whole(minimum=0), "state": _STATE, "metadata": mapping(),
    }, {"pinned": flag("Retention leaves it alone.")}),
    "SessionList": record({
        "sessions": listed(ref("SessionSummary")),
        "next": nullable(text("The value of `before` for the next page; null: there is none.")),
    }),
    "Session": record({
        "id": text(), "title": text(), "memory_limit": _LIMIT, "created_at": time(), "updated_at": time(),
        "last_seq": whole(minimum=0), "state": _STATE, "metadata": mapping(),
        "usage": ref("Usage"), "history": listed(ref("HistoryMessage"), "The newest 200, oldest first; no instructions."),
    }, {"pinned": flag("Retention leaves it alone.")}),
    "SessionChanges": closed({}, {
        "title": text("What people see.", maxLength=200), "memory_limit": whole(minimum=1),
        "pinned": flag("Retention leaves it alone."), "metadata": _METADATA,
    }),
    "HistoryMessage": record({
        "role": one_of("user", "assistant"), "content": text(), "created_at": time(), "metadata": mapping(),
    }),
    "Usage": record({
        "prompt_tokens": whole(minimum=0), "completion_tokens": whole(minimum=0), "total_tokens": whole(minimum=0),
        "estimated": flag("Counted by Tom, because the provider reported nothing."),
    }, {"cost": {"type": "number", "description": "In the currency of the price table."}}),
    "File": record({"media_type": text(), "size": whole("Bytes.", minimum=0)}, {
        "data": text("A picture's content in base64.", contentEncoding="base64"), "text": text("A text's content."),
    }),
    "ExportedSession": record({
        "format": {"type": "string", "const": "tom.conversation"}, "version": {"type": "integer", "const": 1},
        "exported_at": time(), "epoch": text(), "conversation": mapping(), "events": listed(ref("Event")),
        "files": mapping("The SHA-256 by which events name a file, and the file.", ref("ExportedFile")),
    }),
    "ExportedFile": closed({"data": text("Base64.", contentEncoding="base64")}, {"media_type": text("Of a picture.")}),
    "SessionToImport": record({
        "format": {"type": "string", "const": "tom.conversation"}, "version": {"type": "integer", "const": 1},
        "conversation": mapping(), "events": listed({"type": "object"}),
    }, {
        "exported_at": text(), "epoch": text(),
        "files": mapping("Only such as events name; without one the session comes without it.", ref("ExportedFile")),
    }),
    "OpenaiMessages": record({"id": text(), "title": text(), "messages": listed(mapping())}),
    "FieldErrors": FIELD_ERRORS,
}  # fmt: skip

_OPENED: Final[Mapping[str, Any]] = {"id": ID, "memory_limit": 10, "created_at": NOW, "metadata": {"customer": "4711"}}
_SUMMARY: Final[Mapping[str, Any]] = {
    "id": ID, "title": "A tent for two", "memory_limit": 10, "created_at": NOW, "updated_at": NOW, "last_seq": 6,
    "state": "idle", "metadata": {"customer": "4711"},
}  # fmt: skip
USAGE: Final[Mapping[str, Any]] = {
    "prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42, "estimated": False,
}  # fmt: skip
HISTORY: Final = (
    {"role": "user", "content": "Which tent is the lightest?", "created_at": NOW, "metadata": {"seq": 2}},
    {"role": "assistant", "content": "The Aras, 1.1 kg.", "created_at": NOW, "metadata": {"seq": 5}},
)
_SESSION: Final[Mapping[str, Any]] = {**_SUMMARY, "usage": USAGE, "history": list(HISTORY)}
_EVENT: Final[Mapping[str, Any]] = {
    "id": ID, "conversation_id": ID, "seq": 2, "timestamp": NOW, "type": "message.received", "role": "user",
    "content": "Which tent is the lightest?", "tool_calls": None, "tool_call_id": None, "model": None, "usage": None,
    "extra": {"surface": "rest"}, "token_count": 12, "request_id": "r1",
}  # fmt: skip
_EXPORTED: Final[Mapping[str, Any]] = {
    "format": "tom.conversation", "version": 1, "exported_at": NOW, "epoch": "e1",
    "conversation": {"id": ID, "title": "A tent for two", "metadata": {}}, "events": [_EVENT],
    "files": {},
}  # fmt: skip
_IMPORTED: Final[Mapping[str, Any]] = {
    "id": ID, "memory_limit": 10, "created_at": NOW, "metadata": {"imported_from": "01K9ZQ4T8M5Y7W2E6R3A1B0C9C"},
}  # fmt: skip


def _of_session(name: str, operation: str, description: str, **parameters: str) -> Link:
    return Link(
        name=name,
        operation=operation,
        text=description,
        parameters={"session_id": "$response.body#/id", **parameters},
    )


_LINKS: Final = (
    Link(
        name="send",
        operation="sendMessage",
        text="Say something in it.",
        parameters={"session_id": "$response.body#/id"},
    ),
    _of_session("get", "getSession", "Look at it."),
    _of_session("change", "changeSession", "Give it a title."),
    _of_session("events", "listEvents", "Read what happened in it."),
    _of_session("stop", "stopRun", "Stop what runs in it."),
    _of_session("export", "exportSession", "Take it along."),
    _of_session("delete", "deleteSession", "Erase it."),
)
_LOCATION: Final = {"Location": (text(), "Where the session is.")}

TOLD: Final[Mapping[str, Told]] = {
    "createSession": Told(
        summary="Open a session",
        text="The body may be empty. The first message needs nothing else than the id that is answered.",
        body=Content(
            schema=ref("NewSession"),
            examples=(
                shown("plain", "A session as the settings say", {}),
                shown("shop", "One that knows its customer", {"memory_limit": 20, "metadata": {"customer": "4711"}}),
            ),
        ),
        answers={
            201: Answer(
                text="It is open.",
                contents=(Content(schema=ref("OpenedSession"), examples=(shown("opened", "A new session", _OPENED),)),),
                headers=_LOCATION,
                links=_LINKS,
            )
        },
        refusals={400: ("invalid_memory_limit",), 422: ("metadata_too_large",), 507: ("storage_full",)},
    ),
    "listSessions": Told(
        summary="List the own sessions",
        text="Newest use first. Calls of `/v1` without a conversation are not among them.",
        parameters=(
            query("limit", whole(minimum=1, maximum=200, default=50), "How many at most.", 50),
            query("before", text(), "`next` of the page before this one."),
            query("q", text(maxLength=200), "Only those in whose title or messages this is found.", "tent"),
        ),
        answers={
            200: answered(
                "A page of them.", ref("SessionList"), shown("page", "One", {"sessions": [_SUMMARY], "next": None})
            )
        },
        refusals={400: ("invalid_cursor",), 422: ("validation_error",)},
    ),
    "importSession": Told(
        summary="Read an exported session in",
        text="Takes what `GET /sessions/{session_id}/export?format=json` gave. All of it or nothing; the error names "
        "the first event or file that is wrong. At most 50,000 events; one session at a time, else 429. Without the scope "
        "`roles` neither instructions nor summaries are followed, and options that the caller may not use are left out. Files that did not come along are told in `metadata.missing_files`.",
        body=Content(schema=ref("SessionToImport"), examples=(shown("exported", "What was exported", _EXPORTED),)),
        body_required=True,
        answers={
            201: Answer(
                text="It is there, with an id of its own.",
                contents=(Content(schema=ref("OpenedSession"), examples=(shown("imported", "Its new id", _IMPORTED),)),),
                headers=_LOCATION,
                links=(_of_session("get", "getSession", "Look at it."), _LINKS[-1]),
            )
        },
        refusals={403: ("role_not_allowed",), 507: ("storage_full",)},
    ),
    "getSession": Told(
        summary="Look at a session",
        text="With its newest messages and what it has used. Instructions are never among the messages.",
        parameters=(SESSION,),
        answers={200: answered("The session.", ref("Session"), shown("session", "After one exchange", _SESSION))},
        refusals={404: ("session_not_found",)},
    ),
    "changeSession": Told(
        summary="Change a session",
        text="What is not named stays as it is; `metadata` is replaced as a whole.",
        parameters=(SESSION,),
        body=Content(
            schema=ref("SessionChanges"),
            examples=(shown("title", "A title of one's own", {"title": "A tent for two", "pinned": True}),),
        ),
        answers={200: answered("As it is now.", ref("Session"), shown("session", "With its title", _SESSION))},
        refusals={
            400: ("invalid_memory_limit",), 404: ("session_not_found",), 422: ("metadata_too_large",),
            507: ("storage_full",),
        },
    ),
    "deleteSession": Told(
        summary="Erase a session",
        text="Its run is cancelled first. Events, files and what search knows of it are overwritten; an archive follows.",
        parameters=(SESSION,),
        answers={204: Answer(text="It is gone.")},
        refusals={404: ("session_not_found",)},
    ),
    "exportSession": Told(
        summary="Take a session along",
        text="`json` is complete, with its files, and can be imported; `markdown` is for people, `openai` for other programs. "
        "It comes as an attachment.",
        parameters=(
            SESSION,
            query("format", one_of("json", "markdown", "openai"), "`json` unless said.", "json"),
        ),
        answers={
            200: Answer(
                text="The session in that format.",
                contents=(
                    Content(
                        schema={"anyOf": [ref("ExportedSession"), ref("OpenaiMessages")]},
                        examples=(shown("json", "Complete", _EXPORTED),),
                    ),
                    Content(schema=text(), kind="text/markdown", examples=(shown("text", "To read", "# A tent for two\n"),)),
                ),
                headers={"Content-Disposition": (text(), "An attachment and its name.")},
            )
        },
        refusals={404: ("session_not_found",), 422: ("validation_error",)},
    ),
    "getFile": Told(
        summary="Get a file of a session",
        text="What came with a message, or a picture that a tool returned; events name it.",
        parameters=(SESSION, in_path("file", "The SHA-256 by which events name it.", DIGEST)),
        answers={
            200: answered(
                "Its content.", ref("File"),
                shown("picture", "A picture", {"media_type": "image/png", "size": 68, "data": "iVBORw0KGgo="}),
                shown("text", "A text", {"media_type": "text/plain", "size": 5, "text": "hello"}),
            )
        },
        refusals={404: ("not_found",)},
    ),
}  # fmt: skip
