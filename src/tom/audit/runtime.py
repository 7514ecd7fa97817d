"""``GET /admin/runtime``: which model, store, archive and limiter are at work. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import tom
from tom.clock import timestamp
from tom.config.agent import AgentSettings

LOOP: Final = "mcp-agent"
"""Tom's own loop, which every provider is used through."""

_OPENROUTER: Final = "openrouter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What settings do not say. ``lag`` in seconds; ``services``: the enabled ones; ``connected``: those that answer."""

    limiter: str
    started_at: datetime
    lag: float = 0.0
    services: Collection[str] = ()
    connected: Collection[str] = ()
    archived: bool = False


def runtime_body(settings: AgentSettings, live: Live) -> dict[str, Any]:
    """The body, from an agent's settings (behind the gateway: those that all agents share)."""
    doors, archive = settings.doors, settings.archive
    entry = settings.llms.get(settings.llm)
    router = next((one for one in settings.llms.values() if one.provider == _OPENROUTER), None)
    if doors.redis.url:
        memory = "redis"
    else:
        memory = "sqlite" if settings.persistence.type == "sql" and settings.persistence.enabled else "memory"
    return {
        "provider": {
            "default": LOOP,
            "available": sorted(settings.llms),
            "llm_provider": settings.llm,
            "uses_openrouter": entry is not None and entry.provider == _OPENROUTER,
            "default_model": entry.models[settings.default_level] if entry else None,
            "openrouter_base_url": router.base_url if router else None,
            "mcp_servers_configured": bool(live.services),
            "mcp_servers_active": bool(live.connected),
            "mcp_server_names": sorted(live.services),
            "mcp_servers_required_minimum": 1,
        },
        "memory": {"backend": memory, "default_limit": doors.memory_default, "max_limit": doors.memory_max},
        "history": {
            "configured_backend": archive.backend,
            "backend": archive.backend if live.archived else "none",
            "enabled": archive.backend != "none",
            "namespace": archive.namespace,
            "lag_seconds": round(live.lag, 3),
        },
        "rate_limit": {
            "backend": live.limiter,
            "rps": doors.rates.rps if doors.rates else None,
            "burst": doors.rates.burst if doors.rates else None,
        },
        "version": tom.__version__,
        "started_at": timestamp(live.started_at),
    }
