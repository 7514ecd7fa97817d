"""What may be asked for by whom, the same at every door: options, what services offer, conversations, asks."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from tom.agent import actions
from tom.agent.actions import Action
from tom.agent.attachments import ResourceWish
from tom.agent.conversations import Conversations
from tom.agent.feed import ALL
from tom.agent.options import check_permitted
from tom.agent.prompting import names_prompt
from tom.agent.submission import OF_THE_ANSWER, Submission
from tom.agent.visiting import check_reach
from tom.conversation.event import Event
from tom.errors import ApprovalNotFound, ElicitationNotFound
from tom.llm.sampling import FORM
from tom.policy.permissions import Caller, Scope, require

_NO_OPTIONS = OF_THE_ANSWER | {"memory_limit"}
"""What is stored with a message's options, and everybody may wish for."""

_OF_CLIENTS = frozenset({"model", "level", "tool_choice", *FORM})
"""What every call of `/v1` may wish for."""


def permitted(wanted: Action, caller: Caller, services: Collection[str]) -> Action:
    """The action as this caller may have it; ``services`` are the enabled ones.

    Raises `OptionNotAllowed`, `AuthenticationRequired`, `ScopeMissing`; for a visitor, whom nobody asks anything,
    `ApprovalNotFound` and `ElicitationNotFound`.
    """
    match wanted:
        case actions.Chat(message):
            check_permitted(message.options, caller)
            check_reading(message, caller, services)
            if caller.visitor and message.conversation_id is not None:
                return replace(wanted, message=replace(message, existing=True))
        case actions.Subscribe(topic, True) if topic == ALL:
            require(caller, Scope.READ)
        case actions.Approve() if caller.visitor:
            raise ApprovalNotFound
        case actions.Answer() if caller.visitor:
            raise ElicitationNotFound
        case _:
            pass
    return wanted


def check_reading(message: Submission, caller: Caller, services: Collection[str]) -> None:
    """Whether what services would be asked to tell with the message may be read by this caller.

    A resource or a prompt comes word for word. Raises `AuthenticationRequired` for a visitor, else `ScopeMissing`.
    """
    if caller.may(Scope.READ):
        return
    asks = message.prompt is not None or names_prompt(message.text, services)
    if asks or any(isinstance(one, ResourceWish) for one in message.attachments):
        require(caller, Scope.READ)


async def check_named(wanted: Action, caller: Caller, conversations: Conversations) -> None:
    """Raise `ConversationNotFound` when a visitor's action names a conversation that is not open to them."""
    if not caller.visitor:
        return
    match wanted:
        case actions.Chat(message):
            named = message.conversation_id
        case actions.Stop() | actions.Resume() | actions.Subscribe() | actions.Retry() | actions.Clear():
            named = wanted.conversation_id
        case _:
            named = None
    if named is not None:
        check_reach(await conversations.get(named), caller)


def wishes_of(caller: Caller, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of options that were stored with a message those that this caller may not use."""
    free = _NO_OPTIONS | (_OF_CLIENTS if caller.may(Scope.OPENAI) else frozenset[str]())
    return {name: value for name, value in options.items() if name not in free}


def again_by(caller: Caller) -> Callable[[Event], None]:
    """What checks the message of a run that ``caller`` wants answered again: the check raises `OptionNotAllowed`."""

    def check(request: Event) -> None:
        check_permitted(wishes_of(caller, request.extra.get("options", {})), caller)

    return check
