"""To be started as a program: ``python -S -E program.py 2025-11-25`` or ``… 2026-07-28``. Plain JSON-RPC on stdio."""

import base64
import json
import sys
from collections.abc import Callable, Generator
from typing import Any

type Message = dict[str, Any]
type Conversation = Generator[Message, Message, Message]
"""What a tool does: yields questions (requests to the client) and gets their answers, returns its result."""

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 24).decode()
STATE = 'opaque\u00a0"state"\\n {not: ours}'
FORM: Message = {
    "mode": "form",
    "message": "How many seats?",
    "requestedSchema": {
        "type": "object",
        "properties": {"seats": {"type": "integer", "minimum": 1}, "window": {"type": "boolean", "default": True}},
        "required": ["seats"],
    },
}
SECRET: Message = {
    "mode": "form",
    "message": "Log in",
    "requestedSchema": {"type": "object", "properties": {"password": {"type": "string"}}},
}
VISIT: Message = {"mode": "url", "message": "Pay here", "url": "https://pay.example/1", "elicitationId": "pay-1"}
SAMPLING: Message = {"messages": [], "maxTokens": 10}


def said(text: str, *more: Message) -> Message:
    """A result of this text and further pieces of content."""
    return {"content": [{"type": "text", "text": text}, *more]}


def question(method: str, params: Message) -> Message:
    """A request to the client."""
    return {"method": method, "params": params}


def told(answer: Message) -> str:
    """An answer, in one line."""
    if "error" in answer:
        return "refused"
    content = json.dumps(answer["content"], sort_keys=True) if answer.get("content") else ""
    return f"{answer['action']} {content}".strip()


def book(arguments: Message) -> Conversation:
    """Asks how many seats."""
    answer = yield question("elicitation/create", FORM)
    return said(f"{arguments.get('day', 'some day')}: {told(answer)}")


def secret(_arguments: Message) -> Conversation:
    """Asks for a password in a form."""
    return said(told((yield question("elicitation/create", SECRET))))


def visit(_arguments: Message) -> Conversation:
    """Sends the person to an address."""
    return said(told((yield question("elicitation/create", VISIT))))


def sample(_arguments: Message) -> Conversation:
    """Wants to use the client's model."""
    return said(told((yield question("sampling/createMessage", SAMPLING))))


def at_once(result: Message) -> Callable[[Message], Conversation]:
    """A tool that asks nothing."""

    def tool(_arguments: Message) -> Conversation:
        return result
        yield {}

    return tool


MIXED = said(
    "text",
    {"type": "image", "data": PNG, "mimeType": "image/png"},
    {"type": "audio", "data": PNG, "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "note://linked", "name": "linked"},
    {"type": "resource", "resource": {"uri": "note://inside", "text": "embedded text"}},
    {"type": "resource", "resource": {"uri": "note://blob", "blob": PNG, "mimeType": "application/pdf"}},
)
STRUCTURED: Message = {"content": [], "structuredContent": {"answer": 42}}
TOOLS: dict[str, Callable[[Message], Conversation]] = {
    "book": book,
    "secret": secret,
    "visit": visit,
    "sample": sample,
    "mixed": at_once(MIXED),
    "structured": at_once(STRUCTURED),
}
ALL_TOOLS = (*TOOLS, "steps", "set_consign", "learn", "pay", "again")
PROMPTS: dict[str, Message] = {
    "greet": {
        "description": "Says hello",
        "arguments": [{"name": "name", "description": "Whom", "required": True}, {"name": "tone"}],
    },
    "plan": {"title": "The plan"},
}
RESOURCES: dict[str, Message] = {
    "note://today": {"name": "today", "description": "What is to be done", "mimeType": "text/plain"},
    "note://picture": {"name": "picture", "mimeType": "image/png"},
    "note://long": {"name": "long"},
    "description://asking": {"name": "asking"},
    "description://response_consign": {"name": "consign"},
}


class Program:
    """Answers requests one after the other; a tool that asks is taken up again when the answer has come."""

    def __init__(self, revision: str) -> None:
        """Speak ``revision``."""
        self.revision = revision
        self.modern = revision == "2026-07-28"
        self.consign = "Be brief."
        self.prompts = dict(PROMPTS)
        self.open: dict[str, tuple[Any, Conversation]] = {}
        self.listening: Any = None
        self.subscribed: set[str] = set()
        self.asked = 0
        self.paid = 0

    def run(self) -> None:
        """Until the input ends."""
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "method" in message:
                self.take(message)
            else:
                number, tool = self.open.pop(message["id"])
                self.go_on(number, tool, message.get("result") or {"error": message["error"]})

    def take(self, message: Message) -> None:
        """One request or notification."""
        method, number = message["method"], message.get("id")
        params: Message = message.get("params") or {}
        answers: dict[str, Callable[[Message], Message | None]] = {
            "server/discover": self.discover,
            "initialize": self.initialize,
            "ping": lambda _params: {},
            "tools/list": lambda _params: {"tools": [_tool(name) for name in ALL_TOOLS]},
            "prompts/list": lambda _params: {"prompts": [{"name": n, **about} for n, about in self.prompts.items()]},
            "prompts/get": self.prompt,
            "resources/list": lambda _params: {"resources": [{"uri": u, **about} for u, about in RESOURCES.items()]},
            "resources/templates/list": lambda _params: {
                "resourceTemplates": [{"uriTemplate": "note://day/{day}", "name": "day"}]
            },
            "resources/read": self.read,
            "resources/subscribe": self.subscribe,
        }
        if method == "tools/call":
            self.call(number, params)
        elif method == "subscriptions/listen":
            self.listen(number, params)
        elif number is not None:
            answer = answers[method](params) if method in answers else None
            if answer is None:
                self.fail(number, -32602 if self.modern else -32002, "Not found" if method in answers else "Unknown")
            else:
                self.reply(number, answer)

    # --- tools -----------------------------------------------------------------------------------------------------

    def call(self, number: Any, params: Message) -> None:
        """Begin a tool, or take it up again with answers (2026-07-28)."""
        name = params["name"]
        arguments: Message = params.get("arguments") or {}
        if name == "steps":
            self.progress(params, arguments)
            self.reply(number, said("all steps done"))
        elif name == "set_consign":
            self.consign = arguments["text"]
            if "description://response_consign" in self.subscribed:
                self.notify("resources/updated", {"uri": "description://response_consign"})
            self.reply(number, said("changed"))
        elif name == "learn":
            self.prompts["learned"] = {}
            self.notify("prompts/list_changed", {})
            self.reply(number, said("learned"))
        elif name == "pay":
            self.paid += 1
            if self.paid % 2:
                error = {"code": -32042, "message": "Pay first", "data": {"elicitations": [VISIT]}}
                write({"jsonrpc": "2.0", "id": number, "error": error})
            else:
                self.reply(number, said("paid"))
        elif name == "again":
            self.state_only(number, params)
        else:
            tool = TOOLS[name](arguments)
            if params.get("inputResponses") is None:
                self.go_on(number, tool, None)
            elif params.get("requestState") != STATE:
                self.reply(number, said("the state was lost"))
            else:
                next(tool)
                self.go_on(number, tool, params["inputResponses"]["the one"])

    def state_only(self, number: Any, params: Message) -> None:
        """Want the call to be made again, three times, without asking anything (2026-07-28)."""
        state = int(params.get("requestState") or 0)
        if state < 3:
            self.reply(number, {"resultType": "input_required", "requestState": str(state + 1)})
        else:
            self.reply(number, said("at last"))

    def go_on(self, number: Any, tool: Conversation, answer: Message | None) -> None:
        """Run the tool to its next question, or its end."""
        try:
            asked = next(tool) if answer is None else tool.send(answer)
        except StopIteration as end:
            self.reply(number, end.value)
            return
        if self.modern:
            requests = {"the one": asked}
            self.reply(number, {"resultType": "input_required", "inputRequests": requests, "requestState": STATE})
            return
        self.asked += 1
        self.open[f"q{self.asked}"] = (number, tool)
        write({"jsonrpc": "2.0", "id": f"q{self.asked}", **asked})

    def progress(self, params: Message, arguments: Message) -> None:
        """Tell of each step."""
        token = params.get("_meta", {}).get("progressToken")
        steps = arguments.get("steps", 2)
        for step in range(1, steps + 1):
            if token is not None:
                told = {"progressToken": token, "progress": step, "total": steps, "message": f"step {step}"}
                write({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})

    # --- prompts and resources ---------------------------------------------------------------------------------------

    def prompt(self, params: Message) -> Message | None:
        """The messages of a prompt."""
        given: Message = params.get("arguments") or {}
        text = {"greet": f"Hello {given.get('name')}, {given.get('tone', 'kindly')}", "plan": "Plan the day"}
        if params["name"] not in text:
            return None
        asked = {"role": "user", "content": {"type": "text", "text": text[params["name"]]}}
        shown = {"role": "assistant", "content": {"type": "image", "data": PNG, "mimeType": "image/png"}}
        return {"messages": [asked, shown]}

    def read(self, params: Message) -> Message | None:
        """The contents of a resource."""
        uri: str = params["uri"]
        texts: dict[str, str] = {
            "note://today": "Water the plants.",
            "note://long": "x" * 100_001,
            "description://asking": "Books \u200bseats.",
            "description://response_consign": self.consign,
        }
        if uri == "note://picture":
            return {"contents": [{"uri": uri, "blob": PNG, "mimeType": "image/png"}]}
        if uri.startswith("note://day/"):
            return {"contents": [{"uri": uri, "text": uri.removeprefix("note://day/")}]}
        if uri not in texts:
            return None
        more = {"uri": uri, "text": "and the dog", "mimeType": "text/html"}
        first = {"uri": uri, "text": texts[uri], "mimeType": "text/plain"}
        return {"contents": [first, more] if uri == "note://today" else [first]}

    # --- the protocol ------------------------------------------------------------------------------------------------

    def capabilities(self) -> Message:
        """What there is."""
        changing = {"listChanged": True}
        return {"tools": {}, "prompts": changing, "resources": {"subscribe": True, **changing}}

    def initialize(self, _params: Message) -> Message | None:
        """The handshake of 2025-11-25."""
        if self.modern:
            return None
        names = {"name": "asking", "version": "1"}
        return {"protocolVersion": self.revision, "capabilities": self.capabilities(), "serverInfo": names}

    def discover(self, _params: Message) -> Message | None:
        """The first request of 2026-07-28."""
        return {"supportedVersions": [self.revision], "capabilities": self.capabilities()} if self.modern else None

    def listen(self, number: Any, params: Message) -> None:
        """Keep the subscription open."""
        self.listening = number
        self.subscribed |= set(params["notifications"].get("resourceSubscriptions", []))
        self.notify("subscriptions/acknowledged", {"notifications": params["notifications"]})

    def subscribe(self, params: Message) -> Message:
        """Tell of changes of a resource from now on (2025-11-25)."""
        self.subscribed.add(params["uri"])
        return {}

    def notify(self, what: str, params: Message) -> None:
        """Tell of a change, the way the revision has it."""
        if self.modern:
            if self.listening is None:
                return
            params = {**params, "_meta": {"io.modelcontextprotocol/subscriptionId": self.listening}}
        write({"jsonrpc": "2.0", "method": f"notifications/{what}", "params": params})

    def reply(self, number: Any, result: Message) -> None:
        """Answer a request."""
        if self.modern:
            result = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "private", **result}
            if result["resultType"] == "input_required":
                del result["ttlMs"], result["cacheScope"]
        write({"jsonrpc": "2.0", "id": number, "result": result})

    def fail(self, number: Any, code: int, text: str) -> None:
        """Refuse a request."""
        code = -32601 if text == "Unknown" else code
        write({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}})


def _tool(name: str) -> Message:
    return {"name": name, "description": f"The tool {name}.", "inputSchema": {"type": "object"}}


def write(message: Message) -> None:
    """One line to the client."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    Program(sys.argv[1]).run()
