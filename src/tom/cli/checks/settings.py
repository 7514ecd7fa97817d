"""What the operator has set: config.yml, people and passwords, certificate, port."""

import asyncio
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

from tom.cli.checks.finding import Finding, House, fail, ok, warn
from tom.cli.operator import ALONE, ask_at_control_socket, runs_alone
from tom.cli.output import Refused
from tom.cli.ports import who_listens
from tom.config.invalid import ConfigInvalid
from tom.config.secret import Secret
from tom.config.settings import Settings


async def check_settings(house: House) -> AsyncGenerator[Finding]:
    """Settings, people, certificate and port."""
    if house.settings is None:
        for line in _errors(house):
            yield fail("settings", line, "correct config.yml, then run: tom config check")
        return
    settings = house.settings
    there = settings.path.exists()
    yield ok("settings", f"{settings.path} is valid" if there else f"there is no {settings.path}: defaults hold")
    for line in settings.warnings:
        if not line.endswith("password_hash"):
            yield warn("settings", line.removeprefix("⚠️ ").removeprefix("❌ "), f"edit {settings.path}")
    if there:
        yield _mode(settings.path)
    if house.alone:
        yield await _alone(house, settings)
        return
    yield _people(settings)
    for name in (user.username for user in settings.users if user.password is not None):
        yield warn(
            "passwords",
            f"the password of '{name}' stands in clear text in {settings.path.name}",
            f"remove its line, then run: tom user passwd {name}",
        )
    for finding in _certificate(house.directory / "tls"):
        yield finding
    yield await _port(house, settings)


def load(directory: Path, *, alone: bool) -> Settings:
    """The settings as the program that lives in ``directory`` reads them. Raises `ConfigInvalid`."""
    from tom.config.loading import Loading

    return Loading(directory, None, os.environ, alone=True).run() if alone else Settings.load(directory)


def _errors(house: House) -> list[str]:
    try:
        load(house.directory, alone=house.alone)
    except ConfigInvalid as error:
        return error.errors
    return []


def _mode(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return warn("settings", f"{path} can be read by others (mode {mode:04o})", f"run: chmod 600 {path}")
    return ok("settings", f"{path.name} can be read by its owner only")


def _people(settings: Settings) -> Finding:
    active = [user.username for user in settings.users if not user.disabled]
    if not active:
        return warn("people", "nobody may log in", "run: tom user add NAME")
    return ok("people", f"{len(active)} may log in")


def _certificate(directory: Path) -> list[Finding]:
    from tom.gateway.tls import inspect

    found = inspect(directory, passphrase=os.environ.get("TOM_TLS_PASSPHRASE") or None, now=datetime.now(UTC))
    cure = f"put cert.pem and key.pem into {directory}, or remove both and run: tom up"
    findings: list[Finding] = []
    for line in found.messages:
        icon, _, text = line.partition(" ")
        make = {"✅": ok("certificate", text), "❌": fail("certificate", text, cure)}
        findings.append(make.get(icon, warn("certificate", text, cure)))
    return findings


async def _port(house: House, settings: Settings) -> Finding:
    if house.gateway is not None:
        return await _gateway(house.directory, house.gateway)
    ports = [settings.listen.port] if settings.listen.port is not None else [443, 8443]
    taken = {port: who for port in ports if (who := who_listens(port))}
    if len(taken) == len(ports):
        port, who = next(iter(taken.items()))
        return fail("port", f"{port} is held by {who}", "stop that program or set global.listen.port")
    return ok("port", f"{next(port for port in ports if port not in taken)} is free")


async def _gateway(directory: Path, pid: int) -> Finding:
    from tom.gateway.agentlink import LinkError
    from tom.gateway.controlclient import ask_gateway

    cure = f"stop it with: kill {pid}, then run: tom up"
    try:
        status, answer = await ask_gateway(directory, "GET", "/health")
    except LinkError as error:
        return fail("gateway", f"it runs (pid {pid}) but does not answer: {error}", cure)
    if status != 200 or not answer.get("ready"):
        return warn("gateway", f"it runs (pid {pid}) but is not ready", "wait a moment and look again")
    return ok("gateway", f"it runs (pid {pid}) and serves {', '.join(answer['addresses'])}")


async def _alone(house: House, settings: Settings) -> Finding:
    if not runs_alone(house.directory):
        chat = settings.agent(ALONE, Secret("")).chat
        if who := who_listens(chat.port):
            cure = "stop that program or set chat.websocket.port"
            return fail("agent alone", f"it does not run, and {chat.port} is held by {who}", cure)
        return ok("agent alone", f"it does not run; {chat.port} is free")
    try:
        status, answer = await asyncio.to_thread(ask_at_control_socket, house.directory, "GET", "/health/ready")
    except Refused as error:
        return fail("agent alone", f"it runs but does not answer: {error.message}", "stop it, then start it again")
    if status != 200 or not answer.get("ready"):
        return warn("agent alone", "it runs but is not ready", "wait a moment and look again")
    return ok("agent alone", "it runs and is ready")
