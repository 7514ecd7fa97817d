"""Which level and which language model answer, given the services that were chosen. Pure."""

from collections.abc import Iterable

from tom.config.agent import AgentSettings, ServiceEntry


def choose_level(
    settings: AgentSettings, selected: Iterable[ServiceEntry], *, asked: int | None = None, proposed: int | None = None
) -> int:
    """The level of the request, else the highest that a selected service, triage or the default wants; then capped."""
    if asked is None:
        wanted = [entry.complexity for entry in selected]
        asked = max([settings.default_level, *wanted, *([] if proposed is None else [proposed])])
    return max(0, min(asked, settings.max_level, 2))


def choose_llm(settings: AgentSettings, selected: Iterable[ServiceEntry]) -> str:
    """The one LLM that all selected services want, else the person's own or the default one."""
    wanted = {entry.llm or settings.llm for entry in selected}
    llm = wanted.pop() if len(wanted) == 1 else settings.llm
    return llm if llm in settings.llms else settings.llm
