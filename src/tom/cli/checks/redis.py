"""Whether the Redis of sessions and limits (`REDIS_URL`) answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from tom.cli.checks.finding import Finding, House, fail, ok, warn
from tom.config.secret import Secret

SECONDS = 3.0
_REFUSALS = ("WRONGPASS", "NOAUTH", "NOPERM", "invalid username-password", "invalid password", "Authentication")


async def check_redis(house: House) -> AsyncGenerator[Finding]:
    """The Redis that sessions and limits share, where one is named. Its address and password are not repeated."""
    settings = house.settings
    if settings is not None and settings.doors.redis.url:
        yield await _try_out(settings.doors.redis.url)


async def _try_out(url: Secret) -> Finding:
    try:
        import redis.asyncio
    except ImportError:
        return fail("redis", "Redis needs its client", "install tom-assistant[redis]")
    client: Any = redis.asyncio.Redis.from_url(url.reveal(), socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    try:
        async with asyncio.timeout(SECONDS):
            await client.ping()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in one line
        if any(word in str(error) for word in _REFUSALS):
            return fail("redis", "Redis refuses the account or its password", "correct REDIS_URL")
        return warn(
            "redis", f"Redis does not answer: {type(error).__name__}", "limits and windows are kept here; start it"
        )
    finally:
        with suppress(Exception):
            await client.aclose()
    return ok("redis", "answers")
