"""The client that the conformance suite drives: Tom's own services, doing what a run would do with them.

``python client.py URL``; the suite says in the environment which scenario it plays and, for some, which calls to make.
Whatever is offered is used: every tool is called, every prompt filled in, every resource read; questions are accepted.
"""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack

from tom.config.agent import ServiceEntry
from tom.conversation.elicitation import Continuation, ElicitationAnswer
from tom.errors import TomError
from tom.services.connection import open_connection
from tom.services.questions import completed
from tom.services.registry import ServiceRegistry

SECONDS = 20.0
VALUES = {"string": "text", "integer": 2, "number": 2.5, "boolean": True, "array": [], "object": {}}


class Person:
    """Says yes to every question, and leaves fields that have a default alone."""

    def progressed(self, done, total, message):
        """Nobody looks."""

    async def elicit(self, question):
        fields = question.schema.get("properties", {})
        required = [name for name in question.schema.get("required", []) if "default" not in fields[name]]
        return ElicitationAnswer("accept", {name: some_value(fields[name]) for name in required})


def some_value(schema):
    """A value that such a field takes."""
    choices = schema.get("enum") or [one.get("const") for one in schema.get("oneOf", [])]
    return choices[0] if choices else schema.get("default", VALUES.get(schema.get("type", "string"), "text"))


def arguments_for(tool):
    """What a tool is called with when the suite does not say."""
    fields = tool.parameters.get("properties", {})
    return {name: some_value(fields.get(name, {})) for name in tool.parameters.get("required", [])}


async def call(registry, tool, arguments):
    """One call, questions answered."""
    person, continuation = Person(), None
    while True:
        outcome = await registry.call(tool, arguments, exchange=person, continuation=continuation)
        if outcome.needs is None:
            print(tool.tool, "→", outcome.content[:200], flush=True)
            return outcome
        answers = {one.key: completed(one, await person.elicit(one)) for one in outcome.needs.questions}
        continuation = Continuation(answers, outcome.needs.state)


async def use(registry, told):
    """Use everything there is."""
    offered = await registry.tools()
    if offered.unavailable:
        print("unavailable:", dict(offered.unavailable), flush=True)
        sys.exit(1)
    by_name = {tool.tool: tool for tool in offered.tools}
    wanted = [(by_name[one["name"]], one["arguments"]) for one in told] or [
        (tool, arguments_for(tool)) for tool in offered.tools
    ]
    async with asyncio.TaskGroup() as group:
        for tool, arguments in wanted:
            group.create_task(call(registry, tool, arguments))
    for prompt in await registry.prompts():
        filled = {name: "text" for name, (_about, required) in prompt.arguments.items() if required}
        print(prompt.name, "→", len(await registry.prompt("suite", prompt.prompt, filled)), "messages", flush=True)
    for resource in await registry.resources():
        if "{" not in resource.uri:
            try:
                print(resource.uri, "→", (await registry.read("suite", resource.uri)).text[:200], flush=True)
            except TomError as error:
                print(resource.uri, "→", error.message, flush=True)


async def definitions(entry):
    """Each tool exactly as its service wrote it, as the pins see it."""
    async with AsyncExitStack() as stack:
        connection = await open_connection(entry, stack, os.environ, lambda: None)
        return {tool.name: json.loads(tool.written) for tool in await connection.list_tools()}


async def main():
    told = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}").get("toolCalls", [])
    entry = ServiceEntry(name="suite", url=sys.argv[-1], connect_timeout=10, timeout=SECONDS)
    async with asyncio.timeout(SECONDS + 5), ServiceRegistry([entry]) as registry:
        if os.environ.get("MCP_CONFORMANCE_SCENARIO") == "json-schema-2020-12-preservation":
            seen = (await definitions(entry))["json_schema_2020_12_tool"]["inputSchema"]
            told = [{"name": "json_schema_echo", "arguments": {"schema": seen}}]
        await use(registry, told)


if __name__ == "__main__":
    asyncio.run(main())
