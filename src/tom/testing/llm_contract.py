# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Provider` must do. Subclass it in a test module and give it the fixture ``provider``.

The model behind the provider under test must answer ``/tool NAME {json}`` with a call of that tool, a tool's result
with a text that contains it, and everything else with some text. The scripted model does; a simulated endpoint does
when it is told to answer by `obedient`.
"""

import asyncio
import json
from contextlib import aclosing

import pytest

from tom.conversation.message import Message, assistant, system, tool, user
from tom.conversation.part import ToolResult
from tom.conversation.tool import ToolDefinition
from tom.llm.provider import ModelItem, ModelRequest, Provider, Reply, TextDelta, ThinkingDelta
from tom.testing.simulated_llm import ReceivedRequest, Script

SECONDS = 10.0
ECHO = ToolDefinition(
    name="mirror_echo",
    service="mirror",
    tool="echo",
    description="Says it back",
    parameters={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)
NOW = ToolDefinition("mirror_now", "mirror", "now", "Says when", {"type": "object", "properties": {}})
TOOLS = (ECHO, NOW)


def obedient(request: ReceivedRequest, *, plain: bool = False) -> Script:
    """Answer as the contract asks a model to; for `SimulatedLLM.otherwise`."""
    if request.last_role == "tool":
        return Script.text(f"The tool says: {' '.join(request.last_results)}", plain=plain)
    said = request.last_user_text
    if said.startswith("/tool "):
        calls = [line.split(" ", 2)[1:] for line in said.splitlines() if line.startswith("/tool ")]
        return Script.tool_calls(*((name, "".join(rest)) for name, *rest in calls), plain=plain)
    return Script.text(f"You said: {said or 'nothing'}. سلام 👋", plain=plain)


async def ask(provider: Provider, *messages: Message, model: str, tools: tuple[ToolDefinition, ...] = ()) -> Reply:
    """Ask once and check what holds for every stream; bounded."""
    items: list[ModelItem] = []
    async with asyncio.timeout(SECONDS):
        items = [item async for item in provider.stream(ModelRequest(model, messages, tools))]
    reply = items.pop()
    assert isinstance(reply, Reply), "the last item is the reply"
    assert not any(isinstance(item, Reply) for item in items), "there is one reply"
    assert "".join(item.text for item in items if isinstance(item, TextDelta)) == reply.text
    assert "".join(item.text for item in items if isinstance(item, ThinkingDelta)) == reply.thinking
    assert reply.text or reply.tool_calls
    return reply


class ProviderContract:
    """Stream, models, close, as `tom.llm.provider.Provider` says."""

    pytestmark = pytest.mark.anyio
    model = "simulated"

    async def test_the_fragments_are_the_reply(self, provider: Provider) -> None:
        reply = await ask(provider, system("Be brief."), user("Say anything."), model=self.model)
        assert reply.text
        assert reply.tool_calls == ()
        assert reply.finish_reason == "stop"

    async def test_usage_and_model_are_always_told(self, provider: Provider) -> None:
        reply = await ask(provider, user("Say anything."), model=self.model)
        assert reply.usage.prompt_tokens > 0
        assert reply.usage.completion_tokens > 0
        assert reply.model == self.model
        assert self.model in await provider.models()

    @pytest.mark.parametrize("text", ["", "x", 'سلام 👋\u200d\u0000\n\t\\"', "{" * 200, "a" * 100_000])
    async def test_any_text_can_be_asked(self, provider: Provider, text: str) -> None:
        await ask(provider, user(text), model=self.model)

    @pytest.mark.parametrize("text", ["hello", "", 'سلام "«»" \\ \n 👋', "x" * 5000])
    async def test_arguments_arrive_as_written(self, provider: Provider, text: str) -> None:
        arguments = json.dumps({"text": text}, ensure_ascii=False)
        reply = await ask(provider, user(f"/tool {ECHO.name} {arguments}"), model=self.model, tools=TOOLS)
        (call,) = reply.tool_calls
        assert (call.name, json.loads(call.arguments)) == (ECHO.name, {"text": text})
        assert call.id
        assert reply.finish_reason == "tool_calls"

    async def test_any_order_of_roles_can_be_sent(self, provider: Provider) -> None:
        question = user(f'/tool {ECHO.name} {{"text": "hi"}}')
        first = await ask(provider, question, model=self.model, tools=TOOLS)
        asked = (question, assistant("", first.tool_calls), tool(ToolResult(first.tool_calls[0].id, "")))
        for messages in (
            (system("Be brief."), system("Be kind."), user("Say anything."), system("It is noon."), user("And now?")),
            (assistant("I said so."), user("Say anything.")),
            (user("Say anything."), assistant("Yes.")),
            (system("Only this."),),
            (*asked, user("Never mind."), system("It is noon."), user("Say anything.")),
            (*asked, system("It is noon.")),
        ):
            await ask(provider, *messages, model=self.model, tools=TOOLS)

    async def test_a_tool_without_parameters_is_called_with_an_empty_object(self, provider: Provider) -> None:
        reply = await ask(provider, user(f"/tool {NOW.name}"), model=self.model, tools=TOOLS)
        (call,) = reply.tool_calls
        assert json.loads(call.arguments) == {}

    async def test_a_result_is_answered(self, provider: Provider) -> None:
        question = user(f'/tool {ECHO.name} {{"text": "hi"}}')
        first = await ask(provider, question, model=self.model, tools=TOOLS)
        result = tool(ToolResult(first.tool_calls[0].id, "canary-4711"))
        second = await ask(provider, question, assistant("", first.tool_calls), result, model=self.model, tools=TOOLS)
        assert "canary-4711" in second.text
        assert second.tool_calls == ()

    async def test_ids_of_calls_are_never_used_twice_in_a_prompt(self, provider: Provider) -> None:
        messages: list[Message] = []
        for _ in range(3):
            messages.append(user(f"/tool {NOW.name} {{}}"))
            reply = await ask(provider, *messages, model=self.model, tools=TOOLS)
            messages += [assistant("", reply.tool_calls), tool(ToolResult(reply.tool_calls[0].id, "noon"))]
        ids = [call.id for message in messages for call in message.calls]
        assert len(set(ids)) == len(ids) == 3

    async def test_a_stream_can_be_given_up(self, provider: Provider) -> None:
        async with asyncio.timeout(SECONDS):
            async with aclosing(provider.stream(ModelRequest(self.model, (user("help"),)))) as stream:
                assert isinstance(await anext(stream), TextDelta)
            await ask(provider, user("Say anything."), model=self.model)

    async def test_two_streams_do_not_mix(self, provider: Provider) -> None:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(
                    ask(provider, user(f'/tool {ECHO.name} {{"text": "{n}"}}'), model=self.model, tools=TOOLS)
                )
                for n in range(8)
            ]
        heard = [json.loads(task.result().tool_calls[0].arguments)["text"] for task in asked]
        assert heard == [str(n) for n in range(8)]

    async def test_closing_twice_is_closing(self, provider: Provider) -> None:
        await ask(provider, user("Say anything."), model=self.model)
        await provider.close()
        await provider.close()


class ParallelContract(ProviderContract):
    """The same, for models that ask for several calls at once: one for each line that begins with ``/tool``."""

    async def test_parallel_calls_are_all_heard_and_all_answered(self, provider: Provider) -> None:
        question = user("\n".join(f'/tool {ECHO.name} {{"text": "{word}"}}' for word in ("one", "two", "three")))
        first = await ask(provider, question, model=self.model, tools=TOOLS)
        heard = [json.loads(call.arguments)["text"] for call in first.tool_calls]
        assert heard == ["one", "two", "three"]
        assert len({call.id for call in first.tool_calls}) == 3
        told = [tool(ToolResult(call.id, f"heard-{number}")) for number, call in enumerate(first.tool_calls)]
        second = await ask(provider, question, assistant("", first.tool_calls), *told, model=self.model, tools=TOOLS)
        assert [f"heard-{number}" in second.text for number in range(3)] == [True] * 3
