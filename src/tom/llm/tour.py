"""What the scripted model says by itself."""

import json
from collections.abc import Sequence

from tom.conversation.tool import ToolDefinition
from tom.llm.filling import example

BANNER = "No model is set up. These answers are scripted."
"""Shown by every surface while the scripted model is in use."""

NOT_A_MODEL = (
    "I am Tom's built-in script, not a language model: no model is set up, so I follow a few fixed rules and "
    "understand nothing beyond them."
)

ADD_A_MODEL = """### Add a model

1. Put a provider's key into the environment or into `.env` in the data directory, for example
   `OPENAI_API_KEY=…`, `OPENROUTER_KEY=…` or `GROQ_API_KEY=…`. A server of your own (Ollama, vLLM, llama.cpp) needs none.
2. Name it in `config.yml`:

   ```yaml
   global:
     llm: openai
     llms:
       openai:
         env_var: OPENAI_API_KEY
         models: [openai/gpt-4o-mini, openai/gpt-4.1, openai/gpt-4.1]
   ```
3. Check it with `tom config check`, then start Tom again.
"""

PERSIAN = (
    "سلام! من یک مدل زبانی نیستم؛ پاسخ‌های من از پیش نوشته شده‌اند. این بند نشان می‌دهد که نوشتهٔ فارسی از راست به چپ و "
    "واژه‌به‌واژه نمایش داده می‌شود، حتی وقتی نام‌هایی مانند Tom یا MCP در میان آن بیاید."
)

COMMANDS = """| you write | I do |
|---|---|
| `help` | this page |
| `tour` | show what an answer can look like |
| `tools` | list what I can call |
| `/tool NAME {"parameter": "value"}` | call exactly that tool |
| a sentence with a tool's words in it | call the tool that fits, if all its parameters are there |
"""

_MAX_LISTED = 40


def help_text(tools: Sequence[ToolDefinition]) -> str:
    """What can be asked."""
    return f"{NOT_A_MODEL}\n\n{COMMANDS}\n{_try_this(tools)}\n\n{ADD_A_MODEL}"


def tour_text(tools: Sequence[ToolDefinition]) -> str:
    """A page that shows streaming, a table, right-to-left text and the way to a model."""
    return (
        f"{NOT_A_MODEL} Here is what Tom can already show.\n\n"
        "### Streaming\n\nThese words reach you one after the other. Close the page in the middle and open it again: "
        "nothing of the answer is lost, since it belongs to your agent and not to the page.\n\n"
        f"### A table\n\n{COMMANDS}\n### A paragraph in Persian\n\n{PERSIAN}\n\n"
        f"### A tool call\n\n{_try_this(tools)}\n\n{ADD_A_MODEL}"
    )


def tools_text(tools: Sequence[ToolDefinition]) -> str:
    """The tools on offer, each with a line that calls it."""
    if not tools:
        return "No service with tools is connected. Services are named in `config.yml` under `services`."
    rows = [f"- `{_call_line(tool)}`: {_first_line(tool.description)}" for tool in tools[:_MAX_LISTED]]
    if len(tools) > _MAX_LISTED:
        rows.append(f"- … and {len(tools) - _MAX_LISTED} more")
    return f"{len(tools)} tools are connected:\n\n" + "\n".join(rows)


def missing_text(tool: ToolDefinition, missing: Sequence[str]) -> str:
    """A tool fits, but parameters were not found."""
    names = ", ".join(f"`{name}`" for name in missing)
    return f"`{tool.full_name}` fits, but I did not find {names} in what you wrote. Write:\n\n    {_call_line(tool)}"


def explicit_text(tool: ToolDefinition, arguments: object) -> str:
    """A tool fits that may destroy something."""
    line = f"/tool {tool.name} {json.dumps(arguments, ensure_ascii=False)}"
    return f"`{tool.full_name}` may destroy something, so I do not call it on a guess. To call it, write:\n\n    {line}"


def unknown_tool_text(name: str, near: Sequence[str], tools: Sequence[ToolDefinition]) -> str:
    """``/tool`` named nothing that exists, or more than one."""
    if near:
        return f"There is no single tool named `{name}`. Did you mean {' or '.join(f'`{found}`' for found in near)}?"
    return f"There is no tool named `{name}`.\n\n{tools_text(tools)}"


def fallback_text(tools: Sequence[ToolDefinition]) -> str:
    """Nothing fits."""
    return (
        f"{NOT_A_MODEL} None of my rules fits what you wrote.\n\n{_try_this(tools)}\n\nWrite `help` for all I can do."
    )


def _try_this(tools: Sequence[ToolDefinition]) -> str:
    if not tools:
        return "No service with tools is connected, so there is nothing to call yet."
    zoned = next((tool for tool in tools if tool.tool == "get_current_time"), None)
    if zoned is not None:
        return f"Try: `What time is it in Paris?`, which calls `{zoned.full_name}`, or `{_call_line(zoned)}`."
    return f"Try: `{_call_line(tools[0])}`."


def _call_line(tool: ToolDefinition) -> str:
    return f"/tool {tool.name} {json.dumps(example(tool.parameters), ensure_ascii=False)}"


def _first_line(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= 120 else line[:119] + "…"
