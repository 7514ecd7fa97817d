# ruff: noqa: S101, D102, ASYNC110 - tests: they assert, their names say what, and nobody tells when news was heard
"""What every `Toolbox` and `Library` must do beyond calling: progress, questions, pictures, prompts, resources.

Subclass `AskingContract` and `LibraryContract` in a test module and give them the fixture ``toolbox``: one that has
the service ``asking`` (`asking_service`, or `asking_toolbox`), ``twin`` of the same kind, and ``absent``, which cannot
be reached.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from tom.conversation.elicitation import Continuation, Elicitation, ElicitationAnswer, InputNeeded
from tom.conversation.message import Role, assistant, user
from tom.conversation.part import Image
from tom.conversation.tool import ToolOutcome
from tom.errors import InvalidArguments, PromptNotFound, ResourceNotFound, ServiceUnavailable
from tom.services.library import Library, ResourceContent
from tom.services.memory import MemoryToolbox
from tom.services.questions import completed
from tom.services.toolbox import Toolbox
from tom.services.underway import Underway
from tom.testing.asking_service.program import FORM, SECRET, STATE, VISIT
from tom.testing.toolbox_contract import SECONDS, tool_of

PICTURE = Image("image/png", b"\x89PNG\r\n\x1a\n" + b"\0" * 24)
MIXED = (
    "text\n[Image: image/png, 32 bytes]\n[Binary content: 32 bytes]\n[Resource link: note://linked]\n"
    "[Embedded resource: note://inside]\nembedded text\n[Embedded resource: note://blob]"
)
ACCEPT = ElicitationAnswer("accept", {"seats": 2})


class Both(Toolbox, Library, Protocol):
    """A toolbox that is a library, too."""


class Person:
    """An `Exchange` whose person answers as told, each time after ``pause`` seconds."""

    def __init__(self, *answers: ElicitationAnswer, pause: float = 0.0) -> None:
        """Give these ``answers``, one after the other."""
        self.answers = list(answers)
        self.pause = pause
        self.questions: list[Elicitation] = []
        self.progress: list[tuple[float, float | None, str]] = []
        self.asked = asyncio.Event()
        self.left_alone = asyncio.Event()

    def progressed(self, done: float, total: float | None, message: str) -> None:
        self.progress.append((done, total, message))

    async def elicit(self, question: Elicitation) -> ElicitationAnswer:
        self.questions.append(question)
        self.asked.set()
        try:
            await asyncio.sleep(self.pause)
        except asyncio.CancelledError:
            self.left_alone.set()
            raise
        return self.answers.pop(0)


async def played(
    toolbox: Toolbox, tool: str, person: Person, arguments: Mapping[str, Any] | None = None, timeout: float = SECONDS
) -> ToolOutcome:
    """What a call comes to with this person, whichever way the service asks."""
    definition = await tool_of(toolbox, f"asking.{tool}")
    continuation = None
    async with asyncio.timeout(SECONDS):
        while True:
            outcome = await toolbox.call(
                definition, arguments or {}, timeout=timeout, exchange=person, continuation=continuation
            )
            if outcome.needs is None:
                return outcome
            questions = outcome.needs.questions
            given = {question.key: completed(question, await person.elicit(question)) for question in questions}
            continuation = Continuation(given, outcome.needs.state)


class AskingContract:
    """Progress, questions and pictures, as `tom.services.toolbox` says."""

    pytestmark = pytest.mark.anyio

    async def test_a_question_is_answered_by_the_person(self, toolbox: Toolbox) -> None:
        person = Person(ACCEPT)
        outcome = await played(toolbox, "book", person, {"day": "Monday"})
        assert outcome.content == 'Monday: accept {"seats": 2, "window": true}'  # the form's default fills what is left
        (question,) = person.questions
        assert (question.mode, question.message) == ("form", "How many seats?")
        assert question.schema["properties"]["seats"]["type"] == "integer"
        assert question.schema["required"] == ["seats"]

    @pytest.mark.parametrize("outcome", ["decline", "cancel"])
    async def test_a_person_may_decline(self, toolbox: Toolbox, outcome: str) -> None:
        said = await played(toolbox, "book", Person(ElicitationAnswer(outcome)))
        assert said.content == f"some day: {outcome}"

    async def test_a_person_is_sent_to_an_address(self, toolbox: Toolbox) -> None:
        person = Person(ElicitationAnswer("accept"))
        assert (await played(toolbox, "visit", person)).content == "accept"
        assert [(question.mode, question.url) for question in person.questions] == [("url", VISIT["url"])]

    async def test_a_secret_is_never_asked_for_in_a_form(self, toolbox: Toolbox) -> None:
        person = Person()
        outcome = await played(toolbox, "secret", person)
        assert not person.questions
        first, note = outcome.content.split("\n")
        assert first == "decline"
        assert "its field 'password' asks for a secret in a form" in note

    async def test_the_persons_time_is_not_the_calls(self, toolbox: Toolbox) -> None:
        outcome = await played(toolbox, "book", Person(ACCEPT, pause=0.8), timeout=0.4)
        assert "accept" in outcome.content

    async def test_without_anybody_to_ask_a_question_is_declined_or_handed_back(self, toolbox: Toolbox) -> None:
        outcome = await toolbox.call(await tool_of(toolbox, "asking.book"), {}, timeout=SECONDS)
        assert outcome.needs is not None or outcome.content == "some day: decline"

    async def test_the_clients_model_is_not_to_be_used(self, toolbox: Toolbox) -> None:
        person = Person()
        outcome = await played(toolbox, "sample", person)
        assert outcome.content in {"refused", "The service wants to use the language model, which it may not."}
        assert not person.questions

    async def test_progress_is_told(self, toolbox: Toolbox) -> None:
        person = Person()
        assert (await played(toolbox, "steps", person, {"steps": 2})).content == "all steps done"
        assert person.progress[-1] == (2, 2, "step 2")

    async def test_much_progress_is_thinned(self, toolbox: Toolbox) -> None:
        person = Person()
        await played(toolbox, "steps", person, {"steps": 2000})
        assert len(person.progress) < 200

    async def test_what_is_no_text_has_a_placeholder_and_pictures_come_with_it(self, toolbox: Toolbox) -> None:
        outcome = await played(toolbox, "mixed", Person())
        assert outcome.content == MIXED
        assert outcome.images == (PICTURE,)

    async def test_structured_content_alone_is_json(self, toolbox: Toolbox) -> None:
        assert json.loads((await played(toolbox, "structured", Person())).content) == {"answer": 42}

    async def test_a_cancelled_call_ends_its_question(self, toolbox: Toolbox) -> None:
        person = Person(ACCEPT, pause=60)
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            task = group.create_task(played(toolbox, "book", person))
            await person.asked.wait()
            task.cancel()
        assert task.cancelled()
        async with asyncio.timeout(SECONDS):
            await person.left_alone.wait()
        assert (await played(toolbox, "book", Person(ACCEPT))).content.startswith("some day: accept")


class LibraryContract:
    """Prompts, resources and descriptions, as `tom.services.library` says."""

    pytestmark = pytest.mark.anyio

    async def test_prompts_are_listed_with_their_arguments(self, toolbox: Both) -> None:
        listed = {entry.prompt: entry for entry in await toolbox.prompts(["asking"])}
        assert list(listed) == ["greet", "plan"]
        assert listed["greet"].description == "Says hello"
        assert dict(listed["greet"].arguments) == {"name": ("Whom", True), "tone": ("", False)}
        assert listed["plan"].title == "The plan"

    async def test_a_prompt_that_two_services_have_is_prefixed_for_both(self, toolbox: Both) -> None:
        names = [entry.name for entry in await toolbox.prompts()]
        assert names == ["asking__greet", "asking__plan", "twin__greet", "twin__plan"]

    async def test_a_prompt_is_filled_in(self, toolbox: Both) -> None:
        asked, shown = await toolbox.prompt("asking", "greet", {"name": "Ann"})
        assert asked == user("Hello Ann, kindly")
        assert (shown.role, shown.images) == (Role.ASSISTANT, (PICTURE,))

    @pytest.mark.parametrize("arguments", [{}, {"tone": "loudly"}, {"name": "Ann", "volume": "11"}])
    async def test_arguments_that_do_not_fit_a_prompt_are_named(self, toolbox: Both, arguments: dict[str, str]) -> None:
        with pytest.raises(InvalidArguments, match="volume" if "volume" in arguments else "name"):
            await toolbox.prompt("asking", "greet", arguments)

    async def test_what_is_not_there_is_said_to_be_missing(self, toolbox: Both) -> None:
        with pytest.raises(PromptNotFound, match="Prompt 'nothing' not found"):
            await toolbox.prompt("asking", "nothing", {})
        with pytest.raises(ResourceNotFound, match="Resource 'note://nothing' not found"):
            await toolbox.read("asking", "note://nothing")

    @pytest.mark.parametrize("service", ["absent", "nowhere"])
    async def test_a_service_that_cannot_be_reached_has_nothing(self, toolbox: Both, service: str) -> None:
        assert await toolbox.prompts([service]) == ()
        assert await toolbox.resources([service]) == ()
        assert await toolbox.description(service, "response_consign", timeout=SECONDS) is None
        with pytest.raises(ServiceUnavailable, match=service):
            await toolbox.prompt(service, "greet", {"name": "Ann"})
        with pytest.raises(ServiceUnavailable, match=service):
            await toolbox.read(service, "note://today")

    async def test_resources_and_templates_are_listed_and_found(self, toolbox: Both) -> None:
        entries = {entry.uri: entry for entry in await toolbox.resources(["asking"])}
        assert {"note://today", "note://picture", "note://day/{day}"} <= set(entries)
        assert entries["note://today"].mime_type == "text/plain"
        assert [entry.uri for entry in await toolbox.resources(["asking"], query="TO BE done")] == ["note://today"]

    async def test_a_resource_is_read_whole(self, toolbox: Both) -> None:
        today = await toolbox.read("asking", "note://today")
        assert today == ResourceContent("Water the plants.\nand the dog", "text/plain")
        assert (await toolbox.read("asking", "note://day/monday")).text == "monday"
        assert (await toolbox.read("asking", "note://picture")).images == (PICTURE,)

    async def test_a_long_resource_is_cut_with_a_mark(self, toolbox: Both) -> None:
        content = await toolbox.read("asking", "note://long")
        assert content.truncated
        assert len(content.text) == 100_000
        assert content.text.endswith("100001 characters in all]")

    async def test_a_description_is_cleaned(self, toolbox: Both) -> None:
        assert await toolbox.description("asking", "asking", timeout=SECONDS) == "Books seats."
        assert await toolbox.description("asking", "prompt_consign", timeout=SECONDS) is None

    async def test_a_description_that_has_changed_is_read_again(self, toolbox: Both) -> None:
        assert await toolbox.description("asking", "response_consign", timeout=SECONDS) == "Be brief."
        await played(toolbox, "set_consign", Person(), {"text": "Be verbose."})
        async with asyncio.timeout(SECONDS):
            while await toolbox.description("asking", "response_consign", timeout=SECONDS) != "Be verbose.":
                await asyncio.sleep(0.01)

    async def test_a_new_prompt_is_heard_of(self, toolbox: Both) -> None:
        assert len(await toolbox.prompts(["asking"])) == 2
        await played(toolbox, "learn", Person())
        async with asyncio.timeout(SECONDS):
            while len(await toolbox.prompts(["asking"])) != 3:
                await asyncio.sleep(0.01)

    async def test_after_close_nothing_is_read(self, toolbox: Both) -> None:
        await toolbox.prompts()
        await toolbox.close()
        assert await toolbox.prompts() == ()
        with pytest.raises(ServiceUnavailable):
            await toolbox.read("asking", "note://today")


# --- the same in Python --------------------------------------------------------------------------------------------


def asking_toolbox(*, modern: bool) -> MemoryToolbox:
    """What the contract asks for, as Python functions; ``modern``: questions are handed back (`InputNeeded`)."""
    toolbox = MemoryToolbox()
    for name, params in (("book", FORM), ("secret", SECRET), ("visit", VISIT)):
        toolbox.add(_asks(params, modern=modern, named=name == "book"), service="asking", name=name)
    for function in (_sample, _mixed, _structured, _steps):
        toolbox.add(function, service="asking", name=function.__name__.lstrip("_"))

    async def set_consign(text: str) -> str:
        toolbox.set_description("asking", "response_consign", text)
        return "changed"

    async def learn() -> str:
        toolbox.add_prompt("learned", "learned", service="asking")
        return "learned"

    toolbox.add(set_consign, service="asking")
    toolbox.add(learn, service="asking")
    for service in ("asking", "twin"):
        about = {"name": ("Whom", True), "tone": ("", False)}
        toolbox.add_prompt("greet", _greeting, service=service, description="Says hello", arguments=about)
        toolbox.add_prompt("plan", "Plan the day", service=service, title="The plan")
    for uri, content, description in (
        ("note://today", "Water the plants.\nand the dog", "What is to be done"),
        ("note://picture", ResourceContent("", "image/png", (PICTURE,)), ""),
        ("note://long", "x" * 100_001, ""),
        ("note://day/{day}", "monday", ""),
        ("description://asking", "Books \u200bseats.", ""),
        ("description://response_consign", "Be brief.", ""),
    ):
        toolbox.add_resource(uri, content, service="asking", description=description)
    toolbox.set_unavailable("absent", "not there")
    return toolbox


def _greeting(given: Mapping[str, str]) -> tuple[Any, ...]:
    shown = assistant("")
    return (
        user(f"Hello {given['name']}, {given.get('tone', 'kindly')}"),
        type(shown)(shown.role, (PICTURE,)),
    )


def _asks(params: Mapping[str, Any], *, modern: bool, named: bool) -> Any:
    key = "the one" if modern else ""
    schema: Mapping[str, Any] = params.get("requestedSchema", {})
    question = Elicitation(params["mode"], params["message"], schema, params.get("url", ""), key)

    async def tool(
        underway: Underway, day: str = "some day", continuation: Continuation | None = None
    ) -> str | ToolOutcome:
        prefix = f"{day}: " if named else ""
        if not modern:
            return prefix + _told(await underway.elicit(question))
        if continuation is None:
            return ToolOutcome("", needs=InputNeeded((question,), STATE))
        assert continuation.state == STATE
        return prefix + _told(continuation.answers["the one"])

    return tool


def _told(answer: ElicitationAnswer) -> str:
    return f"{answer.outcome} {json.dumps(dict(answer.content), sort_keys=True) if answer.content else ''}".strip()


async def _sample() -> str:
    return "refused"


async def _mixed() -> ToolOutcome:
    return ToolOutcome(MIXED, images=(PICTURE,))


async def _structured() -> dict[str, int]:
    return {"answer": 42}


async def _steps(underway: Underway, steps: int = 2) -> str:
    for step in range(1, steps + 1):
        await underway.progressed(step, steps, f"step {step}")
    return "all steps done"
