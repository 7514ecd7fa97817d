"""Limits of all, of groups and of users, and which of them apply to one: the narrowest that says something."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tom.config.agent import LimitSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """What the file says: fields of `LimitSettings` by name, for all, by group, and by user."""

    everybody: Mapping[str, Any] = field(default_factory=dict[str, float])
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    users: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def of(self, user: str, groups: Iterable[str]) -> LimitSettings:
        """The limits of one user: their own, else the smallest of their groups', else those for all."""
        chosen = dict(self.everybody)
        smallest: dict[str, Any] = {}
        for group in groups:
            for name, value in self.groups.get(group, {}).items():
                smallest[name] = min(value, smallest.get(name, value))
        return LimitSettings(**chosen | smallest | dict(self.users.get(user, {})))
