"""Limits, retention and the length of replies: from what the file says to what agents are told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tom.config.agent import LlmEntry, PersistenceSettings
from tom.config.faults import Faults
from tom.config.limits import LimitsSection, ScopeLimitsSection
from tom.config.narrowing import Limits
from tom.config.retention import RepositorySection
from tom.config.settings import UserEntry

_NAMES = {"result": "result_characters", "cost": "cost_per_run"}


def resolve_limits(section: LimitsSection, people: Mapping[str, UserEntry], faults: Faults) -> Limits:
    """The limits of everybody. A user that is not there is refused, a group that nobody is in is warned of."""
    for name in section.users:
        if name not in people:
            faults.refuse(("limits", "users", name), "is not the name of a user")
    taken = {group for user in people.values() for group in user.groups}
    for name in section.groups:
        if name not in taken:
            faults.warnings.append(f"⚠️ limits.groups.{name}: no user is in this group")
    return Limits(
        _given(section),
        {name: _given(scope) for name, scope in section.groups.items()},
        {name: _given(scope) for name, scope in section.users.items()},
    )


def _given(scope: ScopeLimitsSection) -> dict[str, Any]:
    """What a scope says, by the names of `LimitSettings`."""
    written = {**scope.run.model_dump(), **scope.user.model_dump()}
    return {_NAMES.get(name, name): value for name, value in written.items() if value is not None}


def resolve_persistence(section: RepositorySection, path: str) -> PersistenceSettings:
    """Where history is kept, in the file ``path``, and for how long."""
    kept = section.persistence
    return PersistenceSettings(
        type=section.type,
        path=path,
        enabled=kept.enabled,
        clear_on_startup=kept.clear_on_startup,
        retention=kept.retention_policy,
        retention_tokens=kept.max_tokens_per_conversation,
        retention_messages=kept.max_messages_per_conversation,
        retention_days=kept.retention_days,
    )


def cap_replies(entries: Mapping[str, LlmEntry], most: int | None) -> dict[str, LlmEntry]:
    """The entries, none of which answers with more than ``most`` tokens."""
    if most is None:
        return dict(entries)
    return {name: _capped(entry, most) for name, entry in entries.items()}


def _capped(entry: LlmEntry, most: int) -> LlmEntry:
    def shorter(options: Mapping[str, Any], default: int) -> dict[str, Any]:
        return {**options, "max_tokens": min(options.get("max_tokens") or default, most)}

    common = shorter(entry.options, entry.max_tokens or most)
    return replace(
        entry,
        max_tokens=min(entry.max_tokens or most, most),
        options=common,
        options_by_level=tuple(shorter(own, common["max_tokens"]) for own in entry.options_by_level),
    )
