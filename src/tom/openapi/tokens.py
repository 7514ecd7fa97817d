"""A person's API tokens. The gateway's routes, for a login only: a token makes no tokens."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import NOW
from tom.openapi.describing import (
    Answer,
    Content,
    Link,
    Schema,
    Told,
    answered,
    closed,
    in_path,
    listed,
    nullable,
    record,
    ref,
    shown,
    text,
    time,
    whole,
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "TokenList": record({"tokens": listed(record({
        "id": text(), "name": text(), "scopes": listed(text()), "created_at": time(), "expires_at": nullable(time()),
        "last_used_at": nullable(time()),
    }))}),
    "NewToken": closed({"name": text(minLength=1, maxLength=100), "scopes": listed(text(), minItems=1)}, {
        "expires_in_days": whole(minimum=1, maximum=3650, default=365),
        "password": text("Needed when the login is older than ten minutes."),
    }),
    "MadeToken": record({"id": text(), "token": text("Shown this once.")}, {"expires_at": nullable(time())}),
}  # fmt: skip

_TOKEN: Final[Mapping[str, Any]] = {
    "id": "t7", "name": "web shop", "scopes": ["chat"], "created_at": NOW, "expires_at": "2027-11-21T17:05:00.123Z",
    "last_used_at": None,
}  # fmt: skip

TOLD: Final[Mapping[str, Told]] = {
    "listTokens": Told(
        summary="The own tokens",
        text="Never the tokens themselves: they are stored hashed.",
        answers={200: answered("The tokens.", ref("TokenList"), shown("one", "One", {"tokens": [_TOKEN]}))},
    ),
    "createToken": Told(
        summary="Make a token",
        text="Scopes: `chat`, `read`, `memory`, `notifications`, `health`, `options`, `roles`, `openai`; `admin` for "
        "admins. Asks for the password again when the login is older than ten minutes.",
        body=Content(
            schema=ref("NewToken"), examples=(shown("shop", "For a web shop", {"name": "web shop", "scopes": ["chat"]}),)
        ),
        body_required=True,
        answers={201: Answer(
            text="The token, this once.",
            contents=(Content(
                schema=ref("MadeToken"), examples=(shown("made", "A token", {"id": "t7", "token": "tom_t7_QmFzZTY0…"}),)
            ),),
            links=(Link(
                name="revoke", operation="deleteToken", text="End it.", parameters={"id": "$response.body#/id"},
            ),),
        )},
        refusals={400: ("invalid_token_request",), 401: ("password_required",), 409: ("too_many_tokens",), 429: ("rate_limited",)},
    ),
    "deleteToken": Told(
        summary="End a token",
        text="Within a second, also for what is open with it.",
        parameters=(in_path("id", "The token's id.", "t7"),),
        answers={204: Answer(text="It has ended.")},
        refusals={404: ("token_not_found",)},
    ),
}  # fmt: skip
