"""The official ``openai`` package as client of a standalone agent."""

import json

import openai
import pydantic
import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.services, pytest.mark.promise("P24")]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client():
    """``client(standing)``: as a newcomer makes one; it does not try again by itself."""
    opened = []

    def connect(standing, **options):
        made = openai.OpenAI(base_url=standing.v1, api_key="none", max_retries=0, timeout=30, **options)
        opened.append(made)
        return made

    yield connect
    for made in opened:
        made.close()


def test_models_answers_streams_pictures_and_repetition(agent, client):
    standing = agent()
    tom, llm = client(standing), standing.llm
    assert [model.id for model in tom.models.list()] == ["tom", "tom-0", "tom-1", "tom-2", "s", "m", "l"]
    assert tom.models.retrieve("tom-2").owned_by == "tom"
    with pytest.raises(openai.NotFoundError) as unknown:
        tom.models.retrieve("gpt-9")
    assert unknown.value.code == "model_not_found"

    llm.reply(Script.text("Good day.", usage=(30, 12)))
    answer = tom.chat.completions.create(model="tom", messages=HELLO, temperature=0.1, max_completion_tokens=50)
    assert answer.choices[0].message.content == "Good day."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 42
    assert answer.tom["status"] == "completed"

    llm.reply(Script.text("", pieces=["one ", "two ", "three"], delay=0.06, usage=(30, 12)))
    stream = tom.chat.completions.create(
        model="tom", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert chunks[-1].usage.total_tokens == 42
    assert chunks[-2].choices[0].finish_reason == "stop"

    llm.reply(Script.text("A dot."))
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    said = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    assert tom.chat.completions.create(model="tom-2", messages=said).choices[0].message.content == "A dot."
    assert PIXEL in llm.requests[-1].body.decode()

    llm.reply(Script.text("Once."))
    asked, key = len(llm.requests), {"Idempotency-Key": "k-1"}
    first = tom.chat.completions.create(model="tom", messages=HELLO, extra_headers=key)
    again = tom.chat.completions.create(model="tom", messages=HELLO, extra_headers=key)
    assert first == again
    assert len(llm.requests) == asked + 1


def test_tools_of_the_client_and_of_tom_in_one_answer(agent, client, ledger):
    standing = agent(services=ledger())
    tom = client(standing)
    standing.llm.reply(
        Script.tool_calls(("write_note", {"text": "Paris"}), ("weather", {"city": "Paris"})),
        Script.text("It rains in Paris; I noted it."),
    )
    said = [{"role": "user", "content": "Note the city and tell me its weather."}]
    first = tom.chat.completions.create(model="tom", messages=said, tools=[WEATHER], parallel_tool_calls=True)
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    said += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "14 degrees, rain"},
    ]
    second = tom.chat.completions.create(
        model="tom", messages=said, tools=[WEATHER], metadata={"conversation_id": first.tom["conversation_id"]}
    )
    assert second.choices[0].message.content == "It rains in Paris; I noted it."
    results = " ".join(standing.llm.requests[-1].last_results)
    assert "14 degrees" in results
    assert "written" in results


def test_a_schema_for_the_answer(agent, client):
    class City(pydantic.BaseModel):
        name: str
        people: int

    standing = agent()
    standing.llm.reply(Script.text('{"name": "Paris", "people": 2100000}'))
    answer = client(standing).chat.completions.parse(model="tom", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", people=2_100_000)
    assert standing.llm.requests[-1].json["response_format"]["json_schema"]["name"] == "City"


def test_what_waits_for_a_yes_is_an_ordinary_answer(agent, client, ledger):
    standing = agent(services=ledger("write_external"))
    standing.llm.reply(Script.tool_calls(("write_note", {"text": "hello"})))
    answer = client(standing).chat.completions.create(model="tom", messages=HELLO)
    assert answer.choices[0].finish_reason == "stop"
    assert "Waiting for your yes: ledger.write_note" in answer.choices[0].message.content
    assert answer.tom["status"] == "waiting"
    _, pending = standing.get("/approvals")
    assert [asked["approval_id"] for asked in pending["approvals"]] == [answer.tom["approval_id"]]


@pytest.mark.parametrize(
    ("arguments", "kind", "code", "param"),
    [
        ({"frequency_penalty": 0.5}, openai.BadRequestError, "unsupported_parameter", "frequency_penalty"),
        ({"n": 3}, openai.BadRequestError, "unsupported_parameter", "n"),
        ({"messages": []}, openai.UnprocessableEntityError, "validation_error", "messages"),
        ({"temperature": 3}, openai.UnprocessableEntityError, "validation_error", "temperature"),
        ({"extra_headers": {"Host": "evil.example"}}, openai.APIStatusError, "wrong_host", None),
        (
            {"extra_headers": {"Origin": "https://evil.example"}},
            openai.PermissionDeniedError,
            "origin_not_allowed",
            None,
        ),
    ],
)
def test_refusals_are_the_packages_own_exceptions(agent, client, arguments, kind, code, param):
    tom = client(agent())
    with pytest.raises(kind) as refused:
        tom.chat.completions.create(**({"model": "tom", "messages": HELLO} | arguments))
    assert (refused.value.code, refused.value.param) == (code, param)
    assert refused.value.request_id or refused.value.response.headers["x-request-id"]


def test_failures_too_before_and_after_the_first_byte(agent, client):
    standing = agent()
    tom, llm = client(standing), standing.llm
    llm.otherwise(Script.fault("unauthorized"))
    with pytest.raises(openai.InternalServerError) as failed:
        tom.chat.completions.create(model="tom", messages=HELLO)
    assert (failed.value.status_code, failed.value.code) == (502, "provider_error")
    with pytest.raises(openai.InternalServerError):
        tom.chat.completions.create(model="tom", messages=HELLO, stream=True)
    patient = client(standing).with_options(max_retries=3)
    asked = len(llm.requests)
    with pytest.raises(openai.InternalServerError):
        patient.chat.completions.create(model="tom", messages=HELLO)
    assert len(llm.requests) == asked + 1, "what Tom has recorded as failed is not sent again by itself"
    llm.otherwise(Script.fault("cut", text="one two three four five six", after=3))
    shown = []
    with pytest.raises(openai.APIError) as broken:
        shown += tom.chat.completions.create(model="tom", messages=HELLO, stream=True)
    assert broken.value.code == "provider_bad_answer"


def test_too_many_requests_are_told_with_when_to_come_back(agent, client):
    standing = agent(rates=1)
    standing.llm.otherwise(Script.text("ok"))
    tom = client(standing)
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(3):
            tom.chat.completions.create(model="tom", messages=HELLO)
    assert refused.value.type == "rate_limit_error"
    assert 0 < refused.value.response.json()["retry_after"] <= 1
    assert int(refused.value.response.headers["retry-after"]) >= 1
    patient = tom.with_options(max_retries=3)
    assert patient.chat.completions.create(model="tom", messages=HELLO).choices[0].message.content == "ok"


@pytest.mark.promise("P1")
@pytest.mark.promise("P3")
def test_an_agent_that_is_killed_while_it_answers_answers_the_same_key_later(agent, client):
    standing = agent()
    key = {"Idempotency-Key": "k-1"}
    standing.llm.reply(Script.text("", pieces=["one ", "two ", "three"], delay=0.2))
    stream = client(standing).chat.completions.create(model="tom", messages=HELLO, stream=True, extra_headers=key)
    run = next(stream).id
    standing.kill()
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    standing.llm.otherwise(Script.text("The answer."))
    standing.start()
    answer = client(standing).chat.completions.create(model="tom", messages=HELLO, extra_headers=key)
    assert (answer.id, answer.choices[0].message.content) == (run, "The answer.")
    asked = len(standing.llm.requests)
    again = client(standing).chat.completions.create(model="tom", messages=HELLO, extra_headers=key)
    assert again == answer
    assert len(standing.llm.requests) == asked
