"""Entries of a library, put in order: names that are unique, and what a query finds."""

from collections.abc import Iterable
from dataclasses import replace

from tom.services.library import PromptEntry, ResourceEntry
from tom.services.naming import names_for


def named_prompts(listed: Iterable[PromptEntry], known: Iterable[PromptEntry]) -> tuple[PromptEntry, ...]:
    """The listed prompts by service and name, under names that are unique among all that are ``known``."""
    entries = sorted(listed, key=lambda entry: (entry.service, entry.prompt))
    names = names_for((entry.service, entry.prompt) for entry in [*entries, *known])
    return tuple(replace(entry, name=names[entry.service, entry.prompt]) for entry in entries)


def found_in(resources: Iterable[ResourceEntry], query: str) -> tuple[ResourceEntry, ...]:
    """The resources whose name, title, description or URI contain ``query``, upper or lower case."""
    sought = query.casefold()
    return tuple(
        entry
        for entry in resources
        if any(sought in text.casefold() for text in (entry.name, entry.title, entry.description, entry.uri))
    )
