"""One tool call on the wire, in both revisions.

In 2026-07-28 a service may answer a call with questions and a state; the call is then made again with the answers and
that state, byte for byte. What needs no person is done here at once; what does is given back as `InputNeeded`. In
2025-11-25 questions come over the open connection (`connection.py`), but for the error that asks to open an address
first, which is such a question too.
"""

import asyncio
from collections.abc import Mapping

from mcp import Client, MCPError
from mcp_types import (
    CallToolResult,
    ElicitationRequiredErrorData,
    ElicitRequest,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    Result,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from tom.conversation.elicitation import Continuation, Elicitation, ElicitationAnswer, InputNeeded
from tom.conversation.tool import ToolOutcome
from tom.services import results
from tom.services.questions import MOST_QUESTIONS, question_of_form, question_of_url, refusal_of
from tom.services.underway import ENDLESS, MOST_ROUNDS, Underway, Wanted

KEY = "tom/key"
DECLINED = "The user declined."
_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_NOT_OFFERED = {"sampling/createMessage": "to use the language model", "roots/list": "to know directories"}


def is_modern(client: Client) -> bool:
    """Whether the connection speaks 2026-07-28 or later."""
    return client.protocol_version in MODERN_PROTOCOL_VERSIONS


async def call_in_rounds(
    client: Client, wanted: Wanted, underway: Underway, continuation: Continuation | None
) -> ToolOutcome:
    """Make the call, in as many rounds as need no person. Raises what the SDK raises."""
    if continuation is not None and not is_modern(client):
        if any(answer.outcome != "accept" for answer in continuation.answers.values()):
            return results.failure(DECLINED)
        continuation = None
    answers: Mapping[str, ElicitationAnswer] = continuation.answers if continuation else {}
    state = continuation.state if continuation else None
    pause = _PAUSE
    for _ in range(MOST_ROUNDS):
        result = await _sent(client, wanted, underway, answers, state)
        if isinstance(result, CallToolResult):
            return results.outcome_of(result)
        if not isinstance(result, InputRequiredResult):
            return results.failure("The service answered in a way that was not agreed on.")
        state = result.request_state
        if not result.input_requests:  # it only wants the call to be made again
            answers = {}
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            continue
        if foreign := _not_offered(result.input_requests):
            return results.failure(f"The service wants {foreign}, which it may not.")
        questions = [question_from(one.params, key) for key, one in _asked(result.input_requests)]
        refusals = underway.refusals(questions)
        if refusals is None:
            return ToolOutcome("", needs=InputNeeded(tuple(questions), state))
        answers = refusals
    return results.failure(ENDLESS)


def needs_of(error: MCPError) -> ToolOutcome:
    """What the error that asks for addresses to be opened first (2025-11-25) comes to."""
    try:
        wanted = ElicitationRequiredErrorData.model_validate(error.error.data).elicitations
    except ValidationError:
        return results.failure(error.message)
    questions = [question_from(one, one.elicitation_id or f"address-{n}") for n, one in enumerate(wanted)]
    reasons = [reason for question in questions if (reason := refusal_of(question))]
    if reasons or not 0 < len(questions) <= MOST_QUESTIONS:
        return results.failure("; ".join([error.message, *reasons[:3]]))
    return ToolOutcome("", needs=InputNeeded(tuple(questions)))


def question_from(params: ElicitRequestParams, key: str = "") -> Elicitation:
    """The question of a service, as Tom's."""
    if isinstance(params, ElicitRequestURLParams):
        return question_of_url(params.message, params.url, key)
    return question_of_form(params.message, params.requested_schema, key)


def answer_for(answer: ElicitationAnswer, question_mode: str = "form") -> ElicitResult:
    """The person's answer on the wire.

    An accepted form has content, though it be empty; an accepted address has none, and is not hurt by an empty one.
    """
    if answer.outcome != "accept":
        return ElicitResult(action="cancel" if answer.outcome == "cancel" else "decline")
    content = dict(answer.content) if question_mode == "form" else None
    return ElicitResult(action="accept", content=content)


async def _sent(
    client: Client,
    wanted: Wanted,
    underway: Underway,
    answers: Mapping[str, ElicitationAnswer],
    state: str | None,
) -> CallToolResult | InputRequiredResult | Result:
    return await client.session.call_tool(
        wanted.tool,
        dict(wanted.arguments),
        progress_callback=underway.progressed if underway.exchange is not None else None,
        input_responses={key: answer_for(answer) for key, answer in answers.items()} or None,
        request_state=state,
        meta={KEY: wanted.key} if wanted.key else None,
        allow_input_required=True,
        allow_claimed=True,
    )


def _asked(requests: Mapping[str, InputRequest]) -> list[tuple[str, ElicitRequest]]:
    return [(key, one) for key, one in requests.items() if isinstance(one, ElicitRequest)]


def _not_offered(requests: Mapping[str, InputRequest]) -> str:
    for key, one in requests.items():
        if not key:
            return "an answer to a question without a name"
        if not isinstance(one, ElicitRequest):
            return _NOT_OFFERED.get(one.method, one.method)
    return ""
