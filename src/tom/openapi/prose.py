"""The text in front of the document: what holds for every operation, and the WebSocket."""

from typing import Final

INTRODUCTION: Final = """\
A self-hosted assistant. Every person has an agent of their own; an agent that runs alone answers at
`http://localhost:8000`, the gateway in front of many at its own address, with the same answers.

## Begin

Open a session, say something, read the reply:

```
curl -X POST http://localhost:8000/sessions
curl -X POST http://localhost:8000/sessions/ID/messages -H 'Content-Type: application/json' \\
     -d '{"content": "Which tent is the lightest?"}'
```

## Who is calling

Behind the gateway, and on any address but this machine's own: an API token as `Authorization: Bearer T` or
`X-API-Key: T`, or a login's cookie (then with `Sec-Fetch-Site: same-origin`, the own `Origin`, or the header
`X-Tom-Client`). Never in the URL. Somebody else's things are answered exactly like things that do not exist.

## Errors

`{"error":{"code","message","details"?},"request_id"}`; on `/v1` as OpenAI words them. Too many requests:
`{"error":"rate_limited","retry_after":2.0}` with `Retry-After`. Every answer has `X-Request-ID`; send one of your own
(1 to 128 letters, digits, `.`, `_`, `-`) and it is kept.

What is checked, in this order: host and origin, credential, rate, size, JSON, fields, existence, permission on the
content. Unknown fields are refused, with the nearest known one.

## Times

RFC 3339 in UTC with milliseconds: `2026-11-21T17:05:00.123Z`.

## The WebSocket

`GET /ws/chat` with an upgrade; text frames, one JSON object each. A client sends
`{"action","request_id","payload"}`:

| action | payload |
|---|---|
| `chat` | `text`, `conversation_id?`, `streaming?`, `options?`, `metadata?`, `attachments?`, `if_busy?` |
| `prompt` | `name`, `arguments?`, `text?`, and as `chat` |
| `stop` | `conversation_id`, `run_id?`, `queued?` |
| `retry` | `conversation_id`, `run_id` |
| `resume` | `conversation_id`, `after?`, `live?`, `epoch?` |
| `subscribe`, `unsubscribe` | `conversation_id`, or `*` for all |
| `approve` | `approval_id`, `decision`, `arguments_digest`, `arguments?`, `note?`, `remember?` |
| `answer` | `elicitation_id`, `outcome`, `content?` |
| `new`, `clear` | `metadata?`; `conversation_id?`, `delete?` |
| `ping` | anything |

It is answered by frames with a `status`: `accepted` (the message is on disk), `processing`, `chunk` (a fragment of the
reply, its `offset` in code points), `complete` (with `metadata.tokens`), `error`, `event`, `pong`. With `?frames=plain`
only `chunk`, `complete` and `error` come. A page of another origin asks `POST /ws/ticket` first and names the protocols
`tom.chat.v1, tom.ticket.<ticket>`.

A client that was cut off sends `resume` with the last `seq` it has seen. Closed with 1012: Tom restarts, come back at
once; 1013: full, or the reader was too slow; 4401: the login or token has ended; 4400, 4429, 1003, 1009: the client
is at fault.
"""

GROUPS: Final = (
    ("Sessions", "Conversations: opening, reading, erasing them, and taking them along."),
    ("Messages", "Saying something, following what happens, stopping and trying again."),
    ("Asks", "What waits for a person: calls that need a yes, questions of services."),
    ("Own", "Prompts, resources, services and usage of the person who asks."),
    ("Completions", "The OpenAI-compatible door."),
    ("Tokens", "API tokens of a person. Behind a gateway, for a login."),
    ("House", "Health, figures, tickets for WebSockets, this document."),
    (
        "Admin",
        "For whoever runs the house: `X-Admin-Token`, a login of role `admin`, or a token with the scope `admin`.",
    ),
)
"""Name and text, in the order of the page."""
