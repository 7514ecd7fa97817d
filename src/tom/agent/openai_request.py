"""The body of ``POST /v1/chat/completions``: a closed list of parameters, read into what Tom is asked to do."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.agent.openai_messages import Dialogue, InvalidParameter, UnsupportedParameter, invalid, read_messages
from tom.agent.options import Choices, checked_options
from tom.agent.submission import checked_id, checked_metadata
from tom.errors import CallerError, InvalidMessage, MetadataTooLarge, ModelNotAllowed

OWN_MODELS: Mapping[str, Mapping[str, int]] = {
    "tom": {},
    "tom-0": {"level": 0},
    "tom-1": {"level": 1},
    "tom-2": {"level": 2},
}
"""The names of this door for what it does with a message -> the options that they stand for."""

PARAMETERS = (
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens",
    "stop", "seed", "tools", "tool_choice", "parallel_tool_calls", "response_format", "user", "metadata", "n",
)  # fmt: skip
MOST_TOOLS = 128
MOST_STOPS = 4
LONGEST_USER = 512
LONGEST_SEED = 2**63
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = ("auto", "none", "required")


class ConversationConflict(CallerError):
    """'metadata.conversation_id' and the header 'X-Tom-Conversation' differ."""

    code = "conversation_conflict"
    http_status = 400


@dataclass(frozen=True, slots=True)
class Completion:
    """What a client asks for. ``conversation_id`` None: the call stands for itself.

    ``options`` are those of the message, ``tools`` the client's own as ``{"name", "description", "parameters"}``, and
    ``tool_choice`` is ``auto``, ``none``, ``required`` or the name of one of them.
    """

    model: str
    dialogue: Dialogue
    stream: bool = False
    include_usage: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str = "auto"
    conversation_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_completion(body: Mapping[str, Any], choices: Choices, conversation: str | None = None) -> Completion:
    """Read a body; ``conversation`` is what the header names. Raises the `CallerError` that names the parameter."""
    given = {name: value for name, value in body.items() if value is not None}
    for name in given:
        if name not in PARAMETERS:
            shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name[:60])
            raise UnsupportedParameter(f"Parameter '{shown}' is not supported.", param=shown)
    for name in ("stop", "tools", "response_format"):
        _check_text(name, given.get(name))
    if given.get("n", 1) != 1 or given.get("n") is True:
        message = "Parameter 'n' must be 1: one answer is given."
        raise UnsupportedParameter(message, param="n")
    tools = _tools(given.get("tools", []))
    metadata = _metadata(given)
    return Completion(
        model=_model(given),
        dialogue=read_messages(given.get("messages")),
        stream=_flag(given, "stream"),
        include_usage=_include_usage(given.get("stream_options", {})),
        options=_options(given, choices),
        tools=tools,
        tool_choice=_tool_choice(given.get("tool_choice", "auto"), frozenset(tool["name"] for tool in tools)),
        conversation_id=_conversation(metadata.get("conversation_id"), conversation),
        metadata=metadata,
    )


def _check_text(name: str, value: Any) -> None:
    """What is stored as it is must be text that can be written."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise invalid(name, "lone surrogates are not text") from None


# --- the model and its options -----------------------------------------------------------------------------------


def _model(given: Mapping[str, Any]) -> str:
    name = given.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("model", "the name of a model is required")
    return name


def _options(given: Mapping[str, Any], choices: Choices) -> Mapping[str, Any]:
    """The options of the message: the model's or the level's, and how the reply is to be formed."""
    options: dict[str, Any] = dict(OWN_MODELS.get(given["model"], {"model": given["model"]}))
    for name in ("temperature", "top_p", "max_tokens"):
        if name in given:
            options[name] = given[name]
    if "max_completion_tokens" in given:
        if options.get("max_tokens", given["max_completion_tokens"]) != given["max_completion_tokens"]:
            raise invalid("max_completion_tokens", "it stands beside another 'max_tokens'")
        options["max_tokens"] = given["max_completion_tokens"]
    try:
        checked = dict(checked_options(options, choices))
    except ModelNotAllowed as error:
        known = ", ".join((*OWN_MODELS, *(choices.models or ())))
        message = f"{error.message} Choose one of: {known}"
        raise ModelNotAllowed(message, **{**error.details, "param": "model"}) from None
    except CallerError as error:
        named = error.details.get("option", "model")
        given_as = named if named in given else "max_completion_tokens"
        raise InvalidParameter(error.message.replace(f"'{named}'", f"'{given_as}'"), param=given_as) from None
    for name, read in _FORM.items():
        if name in given and (value := read(given[name])) is not None:
            checked[name] = value
    return checked


def _stop(value: Any) -> Any:
    listed = cast("list[Any]", value if isinstance(value, list) else [value])
    if len(listed) > MOST_STOPS or not all(isinstance(one, str) and one for one in listed):
        raise invalid("stop", f"a text or a list of at most {MOST_STOPS} texts is required")
    return listed or None


def _seed(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or not -LONGEST_SEED <= value < LONGEST_SEED:
        raise invalid("seed", "a whole number is required")
    return value


def _parallel(value: Any) -> Any:
    if not isinstance(value, bool):
        raise invalid("parallel_tool_calls", "true or false is required")
    return value


def _response_format(value: Any) -> Any:
    match value:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict()} as told}:
            return {"type": "json_schema", "json_schema": told}
        case {"type": "json_schema"}:
            raise invalid("response_format.json_schema", "an object with 'name' and 'schema' is required")
        case _:
            raise invalid("response_format.type", "one of text, json_object, json_schema is required")


_FORM: Mapping[str, Callable[[Any], Any]] = {
    "stop": _stop,
    "seed": _seed,
    "parallel_tool_calls": _parallel,
    "response_format": _response_format,
}
"""Parameter -> what is passed on of it; None: nothing."""


# --- tools -------------------------------------------------------------------------------------------------------


def _tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list):
        raise invalid("tools", "a list is required")
    listed = cast("list[Any]", value)
    if len(listed) > MOST_TOOLS:
        raise invalid("tools", f"at most {MOST_TOOLS} are taken")
    tools = [_tool(one, f"tools[{number}]") for number, one in enumerate(listed)]
    names = [tool["name"] for tool in tools]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise invalid(f"tools[{number}].function.name", f"'{name}' is there twice")
    return tuple(tools)


def _tool(value: Any, where: str) -> Mapping[str, Any]:
    match value:
        case {"type": "function", "function": {"name": str(name)} as told}:
            function = cast("dict[str, Any]", told)
        case _:
            raise invalid(where, "an object of the type function, with a named function, is required")
    if not _NAME.fullmatch(name):
        raise invalid(f"{where}.function.name", "1 to 64 letters, digits, '_' or '-' are required")
    description = function.get("description") or ""
    parameters: Any = function.get("parameters") or {"type": "object", "properties": dict[str, Any]()}
    if not isinstance(description, str):
        raise invalid(f"{where}.function.description", "a text is required")
    if not isinstance(parameters, dict):
        raise invalid(f"{where}.function.parameters", "a JSON schema is required")
    return {"name": name, "description": description, "parameters": parameters}


def _tool_choice(value: Any, names: frozenset[str]) -> str:
    match value:
        case "auto" | "none":
            return value
        case "required" if names:
            return value
        case {"type": "function", "function": {"name": str(name)}} if name in names:
            return name
        case _:
            known = f"{', '.join(_CHOICES)} or the name of one of 'tools'"
            raise invalid("tool_choice", f"{known} is required")


# --- the rest ----------------------------------------------------------------------------------------------------


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise invalid(name, "true or false is required")
    return value


def _include_usage(value: Any) -> bool:
    if not isinstance(value, dict):
        raise invalid("stream_options", "an object is required")
    told = cast("dict[str, Any]", value)
    for name in told:
        if name not in {"include_usage", "include_obfuscation"}:
            message = f"Parameter 'stream_options.{name[:60]}' is not supported."
            raise UnsupportedParameter(message, param=f"stream_options.{name[:60]}")
    wanted = told.get("include_usage", False)
    if not isinstance(wanted, bool):
        raise invalid("stream_options.include_usage", "true or false is required")
    return wanted


def _metadata(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded with the message: ``metadata``, and ``user``, which says nothing about who is calling."""
    user = given.get("user", "")
    if not isinstance(user, str) or len(user) > LONGEST_USER:
        raise invalid("user", f"a text of at most {LONGEST_USER} characters is required")
    try:
        metadata = checked_metadata(given.get("metadata", {}))
        checked_metadata({"user": user})
    except InvalidMessage as error:
        raise invalid("metadata", error.message.rpartition(": ")[2]) from None
    except MetadataTooLarge as error:
        raise MetadataTooLarge(error.message, **{**error.details, "param": "metadata"}) from None
    return {**metadata, **({"user": user} if user else {})}


def _conversation(named: Any, in_header: str | None) -> str | None:
    if named is not None and in_header is not None and named != in_header:
        raise ConversationConflict(param="metadata.conversation_id")
    wanted = named if named is not None else in_header
    if wanted is None:
        return None
    try:
        return checked_id(wanted, "conversation_id")
    except CallerError as error:
        where = "metadata.conversation_id" if named is not None else "X-Tom-Conversation"
        raise type(error)(error.message, param=where) from None
