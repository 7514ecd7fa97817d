"""What Tom depends on outside: language models and services."""

import asyncio
import os
from collections.abc import AsyncGenerator

from tom.cli.checks.finding import Finding, House, fail, ok, warn
from tom.clock import SystemClock
from tom.config.agent import AgentSettings, ServiceEntry
from tom.config.settings import Settings
from tom.errors import ProviderError

SECONDS = 15.0


async def check_models(house: House) -> AsyncGenerator[Finding]:
    """Each language model's provider and the names of its three levels."""
    if house.settings is None:
        return
    settings = house.settings
    if settings.llm == "scripted":
        yield ok("models", "the scripted model answers, offline, as config.yml says")
    elif settings.llm not in settings.llms:
        yield warn("models", "no language model is set up", "run: tom llm add PROVIDER")
    for name in settings.llms:
        async for finding in _check_model(settings, name):
            yield finding


async def _check_model(settings: Settings, name: str) -> AsyncGenerator[Finding]:
    from tom.llm.levels import open_provider

    entry = settings.llms[name]
    provider = open_provider(entry)
    place = entry.base_url
    try:
        async with asyncio.timeout(SECONDS):
            listed = set(await provider.models())
    except (ProviderError, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        yield fail("models", f"{name} at {place}: {reason}", f"check the key and the address of '{name}' in config.yml")
        return
    finally:
        await provider.close()
    for level, model in enumerate(entry.models):
        if not listed or model in listed:
            yield ok("models", f"{name} level {level}: {model}")
        else:
            yield warn(
                "models", f"{name} level {level}: {model} is not in the provider's list", f"correct llms.{name}.models"
            )


async def check_services(house: House) -> AsyncGenerator[Finding]:
    """Each service: started or connected, and how many tools it has."""
    if house.settings is None:
        return
    entries: dict[str, ServiceEntry] = {}
    for mine in house.settings.services.values():
        for entry in mine:
            entries.setdefault(entry.name, entry)
    if not entries:
        yield ok("services", "none is configured")
        return
    async for finding in _ask_services(tuple(entries.values()), house.settings.template):
        yield finding


async def _ask_services(entries: tuple[ServiceEntry, ...], template: AgentSettings) -> AsyncGenerator[Finding]:
    from tom.services.registry import ServiceRegistry

    own = os.environ | ({"TOM_ALL_DATADIR": template.all_datadir} if template.all_datadir else {})
    registry = ServiceRegistry(entries, clock=SystemClock(), environment=own)
    try:
        await registry.tools()
        for status in registry.status():
            if not status.enabled:
                yield ok("services", f"{status.name} is switched off")
            elif status.status == "connected":
                yield ok("services", f"{status.name}: {status.tools_count} tools")
            else:
                cure = f"start it, or correct services.{status.name} in config.yml"
                yield fail("services", f"{status.name}: {status.error or status.status}", cure)
    finally:
        await registry.close()
