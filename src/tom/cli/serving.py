"""What `tom up` and `tom gateway` share: one gateway, one spawner, the signals, the end.

On SIGTERM or SIGINT the gateway refuses what is new and lets answers be finished, then the agents drain; a second
signal takes the waiting away.
"""

import asyncio
import contextlib
import ctypes
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tom.cli.output import Refused
from tom.config.settings import Settings
from tom.gateway.bootstrap import Gateway, build
from tom.spawner.process import ProcessSpawner
from tom.telemetry import logs

log = logs.get("config")

STOP_SECONDS = 29.0
"""From the first signal until agents that still run are ended; what they had accepted goes on at the next start."""
LEAST_GRACE = 10.0

RESTART = 75
"""EX_TEMPFAIL of sysexits.h: an admin wants it started again, also by a supervisor that leaves alone what ended well."""

_M_MMAP_THRESHOLD = -3
_LARGE_BLOCK = 1 << 20


def load(directory: Path, host: str | None, port: int | None) -> Settings:
    """The settings, with where to listen as the command line says. Raises `ConfigInvalid`."""
    settings = Settings.load(directory, host=host or "")
    listen = settings.listen
    return replace(
        settings, listen=replace(listen, host=host or listen.host, port=listen.port if port is None else port)
    )


def serve(settings: Settings, spawner: ProcessSpawner, announce: Callable[[Gateway], None]) -> int:
    """Serve until a signal says stop; ``announce`` is called when the gateway answers. Returns the exit status.

    Raises `Refused` when it cannot start.
    """
    import uvloop

    _give_memory_back()
    logs.configure(settings.log)
    for line in settings.notes:
        log.info(line, event="configuration")
    for line in settings.warnings:
        log.warning(line, event="configuration")
    try:
        status, failure = uvloop.run(_serve(settings, spawner, announce))
    finally:
        logs.flush()
    if failure is not None:
        raise failure
    return status


async def _serve(
    settings: Settings, spawner: ProcessSpawner, announce: Callable[[Gateway], None]
) -> tuple[int, Exception | None]:
    gateway = build(settings, spawner)
    asked = _on_signals(gateway, spawner)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_tell(announce, gateway))
            try:
                await gateway.serve()
            except Exception as error:  # noqa: BLE001 - it is raised again when everything is closed
                failure = _innermost(error)
            telling.cancel()
    finally:
        since = asyncio.get_running_loop().time() - asked[0] if asked else 0.0
        await spawner.close(grace=max(STOP_SECONDS - since, LEAST_GRACE))
    return RESTART if gateway.restarting else 0, failure


async def _tell(announce: Callable[[Gateway], None], gateway: Gateway) -> None:
    await gateway.started.wait()
    announce(gateway)


def _on_signals(gateway: Gateway, spawner: ProcessSpawner) -> list[float]:
    """Stop on a signal; the list gets the times, by the loop's clock, at which one came."""
    asked: list[float] = []

    def signalled() -> None:
        asked.append(loop.time())
        if len(asked) == 1:
            log.info("🛑 Stopping", event="stopping")
            gateway.stop()
        else:
            spawner.hurry()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    return asked


def _give_memory_back() -> None:
    """Return large blocks to the system when they are freed: a password's hash takes 19 MiB for a moment.

    The C library would otherwise raise its threshold after the first one and keep the next.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call, and no such habit
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _innermost(error: Exception) -> Exception:
    """The error itself, when it came out of task groups alone."""
    inside: tuple[Exception, ...] = getattr(error, "exceptions", ())
    return _innermost(inside[0]) if len(inside) == 1 else error


def explained(error: Exception, port: int | None) -> Exception:
    """A refusal to start with what to do about it."""
    message = getattr(error, "message", "")
    if "already in use" not in message or "Port" not in message:
        return error
    from tom.cli.ports import who_listens

    who = who_listens(port if port is not None else 443)
    by = f"{who} holds it; " if who else ""
    return Refused(message, hint=f"{by}choose another with --port", code="port_in_use")
