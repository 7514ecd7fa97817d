"""What an action of a socket may be asked for by whom; the same rules as those of the REST routes that do the same."""

from dataclasses import replace

from tom.agent import actions
from tom.agent.actions import Action
from tom.agent.feed import ALL
from tom.agent.options import check_permitted
from tom.errors import ApprovalNotFound, ElicitationNotFound
from tom.policy.permissions import Caller, Scope, require


def permitted(wanted: Action, caller: Caller) -> Action:
    """The action as this caller may have it.

    Raises `OptionNotAllowed`, `AuthenticationRequired`, `ScopeMissing`; for a visitor, whom nobody asks anything,
    `ApprovalNotFound` and `ElicitationNotFound`.
    """
    match wanted:
        case actions.Chat(message):
            check_permitted(message.options, caller)
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
