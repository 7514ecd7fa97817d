"""The official ``openai`` package through the gateway, with an API token."""

import subprocess
import sys

import httpx2
import openai
import pytest

from tom.testing.house import House
from tom.testing.simulated_llm import Script, SimulatedLLM

pytestmark = [pytest.mark.services, pytest.mark.anyio, pytest.mark.promise("P24")]

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def house(tmp_path):
    with SimulatedLLM() as endpoint:
        entry = {
            "api": "none",
            "base_url": endpoint.url,
            "models": ["compatible/s", "compatible/own/m", "compatible/l"],
        }
        settings = {
            "global": {"llm": "simulated", "llms": {"simulated": entry}},
            "chat": {"service": {"context": {"max_tokens": 32000}, "titles": False}},
        }
        standing = House(tmp_path / "house", settings)
        await standing.start()
        try:
            yield standing, endpoint
        finally:
            await standing.stop()


def token(house, *words, user="alice"):
    """A token of ``user``; ``words`` are its scopes."""
    scopes = [part for word in words for part in ("--scope", word)]
    command = [sys.executable, "-m", "tom.cli.main", "token", "create", "a test", *scopes, "--user", user]
    made = subprocess.run(
        [*command, "--data", str(house.directory)], capture_output=True, text=True, timeout=60, check=True
    )
    return made.stdout.strip()


@pytest.fixture
async def connect(house):
    """``connect(key)``: a client of the house."""
    opened = []

    def make(key, **options):
        http = httpx2.AsyncClient(verify=house[0].tls())
        made = openai.AsyncOpenAI(
            base_url=f"{house[0].url}/v1", api_key=key, max_retries=0, timeout=30, http_client=http, **options
        )
        opened.append(made)
        return made

    yield make
    for made in opened:
        await made.close()


async def test_with_a_token_of_its_scope_it_is_the_persons_own_agent(house, connect):
    standing, llm = house
    llm.otherwise(Script.text("Good day."))
    alice = connect(token(standing, "openai"))
    assert [model.id async for model in alice.models.list()] == ["tom", "tom-0", "tom-1", "tom-2", "s", "own/m", "l"]
    assert (await alice.models.retrieve("own/m")).id == "own/m"
    answer = await alice.chat.completions.create(model="tom", messages=HELLO)
    assert answer.choices[0].message.content == "Good day."
    stream = await alice.chat.completions.create(model="tom", messages=HELLO, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Good day."
    bob = connect(token(standing, "openai", user="bob"))
    here = {"conversation_id": answer.tom["conversation_id"]}
    theirs = await bob.chat.completions.create(model="tom", messages=HELLO, metadata=here)
    assert theirs.tom["run_id"] != answer.tom["run_id"]
    said = [one["content"] for one in llm.requests[-1].messages if one["role"] != "system"]
    assert said == ["Hello"], "the same id is another conversation of another person"


async def test_without_it_everything_is_refused_in_openais_words(house, connect):
    standing, _ = house
    chatting = connect(token(standing, "chat", "read"))
    with pytest.raises(openai.PermissionDeniedError) as lacking:
        await chatting.models.list()
    assert (lacking.value.code, lacking.value.type) == ("scope_missing", "permission_error")
    for key in ("tom_unknown", "sk-0123456789"):
        with pytest.raises(openai.AuthenticationError) as unknown:
            await connect(key).chat.completions.create(model="tom", messages=HELLO)
        assert (unknown.value.code, unknown.value.type) == ("invalid_token", "authentication_error")
    with pytest.raises(openai.NotFoundError) as nowhere:
        await connect(token(standing, "openai")).embeddings.create(model="tom", input="x")
    assert nowhere.value.type == "invalid_request_error"
    async with httpx2.AsyncClient(verify=standing.tls()) as http:
        nobody = await http.get(f"{standing.url}/v1/models")
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert nobody.json()["error"]["code"] == "authentication_required"
