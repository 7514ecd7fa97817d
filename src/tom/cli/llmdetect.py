"""Finding a model server on this machine and entering it, each act after a yes."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tom.cli import llm as shared
from tom.cli.output import Refused, Status, document, notice, table, usage
from tom.config.agent import LlmEntry
from tom.config.edit import add_llm
from tom.config.localservers import USUAL_PORTS, ModelServer, find_servers
from tom.config.providers import KNOWN
from tom.config.secret import Secret


def look(directory: Path, models: Sequence[str], ports: Sequence[int], *, yes: bool, as_json: bool) -> None:
    """Say who answers; with a terminal or ``yes``, try one out and enter it. Raises `Refused`, `ConfigInvalid`."""
    settings = shared.load(directory)
    own = {8443 if settings.listen.port is None else settings.listen.port}
    if settings.listen.loopback_http is not None:
        own.add(settings.listen.loopback_http[1])
    found = find_servers(tuple(ports) or tuple(USUAL_PORTS), own=own)
    servers = [server for server in found if server.models]
    if as_json and not yes:
        document(
            {"servers": [_shown(server) for server in servers], "others": [one.port for one in found if not one.models]}
        )
        return
    _tell(found)
    if not servers:
        raise Refused(
            "No model server answers on this machine",
            status=Status.UNREACHABLE,
            hint="start one (Ollama, LM Studio, llama.cpp, vLLM), or name a vendor: tom llm add PROVIDER",
            code="no_model_server",
        )
    if not yes and not sys.stdin.isatty():
        notice("Enter one with: tom llm detect --yes --models MODEL")
        return
    _enter(directory, servers, models, yes=yes, as_json=as_json)


def _tell(found: Sequence[ModelServer]) -> None:
    for server in found:
        if server.models:
            many = "1 model" if len(server.models) == 1 else f"{len(server.models)} models"
            notice(f"✅ {server.name} with {many} at {server.base_url}")
        else:
            notice(f"⚠️ port {server.port} answers, but is no model server")


def _enter(
    directory: Path,
    servers: Sequence[ModelServer],
    models: Sequence[str],
    *,
    yes: bool,
    as_json: bool,
) -> None:
    server = servers[0] if yes or len(servers) == 1 else servers[_choice("Which", [one.base_url for one in servers])]
    chosen = _chosen(server, models, yes=yes)
    ollama = KNOWN["ollama"]
    provider = "ollama" if server.name == "Ollama" else "compatible"
    name = _free_name("ollama" if provider == "ollama" else "house", directory)
    usual = provider == "ollama" and (server.host, server.port) == ("127.0.0.1", 11434)
    base_url = ollama.base_url if usual else server.base_url
    entry = LlmEntry(name=name, provider=provider, base_url=base_url, key=Secret(""), models=chosen, timeout=120)
    probes = asyncio.run(shared.probe(entry))
    if not as_json:
        table(shared.HEAD, [shared.row(name, level, one) for level, one in enumerate(probes)])
    if not all(one.works for one in probes):
        raise Refused("The model does not answer; nothing was written", status=Status.UNREACHABLE, code="llm_answer")
    if not yes and input(f"Enter it in config.yml as '{name}' and make it the default? [y/N] ").strip().lower() not in {
        "y",
        "yes",
    }:
        notice("Nothing was written.")
        return
    first, second, third = (f"{provider}/{model}" for model in chosen)
    add_llm(
        directory / "config.yml", name, "", (first, second, third),
        api="" if provider == "ollama" else "none", base_url="" if usual else base_url,
    )  # fmt: skip
    if as_json:
        document({"name": name, "base_url": base_url, "levels": [shared.shown(one) for one in probes]})
    else:
        print(f"✅ {name} entered and chosen as the default")
        notice("A running Tom takes it at its next start.")


def _chosen(server: ModelServer, models: Sequence[str], *, yes: bool) -> tuple[str, str, str]:
    given = list(models) * 3 if len(models) == 1 else list(models)
    if given:
        if len(given) != 3:
            usage(f"--models needs 1 or 3 names, has {len(given)}")
        missing = [model for model in given if model not in server.models]
        if missing:
            usage(f"{server.name} has no model '{missing[0]}': it has {', '.join(server.models)}")
        return given[0], given[1], given[2]
    if yes or len(server.models) == 1:
        only = server.models[0]
        return only, only, only
    easy, usual, hard = (
        server.models[_choice(f"Model for {kind} questions", server.models)] for kind in ("easy", "usual", "hard")
    )
    return easy, usual, hard


def _choice(question: str, choices: Sequence[str]) -> int:
    for number, choice in enumerate(choices, 1):
        notice(f"  {number}  {choice}")
    while True:
        typed = input(f"{question} [1]: ").strip() or "1"
        if typed.isdecimal() and 1 <= int(typed) <= len(choices):
            return int(typed) - 1
        notice(f"A number from 1 to {len(choices)}, please.")


def _free_name(wanted: str, directory: Path) -> str:
    taken = set(shared.load(directory).llms)
    return next(name for name in (wanted, *(f"{wanted}-{number}" for number in range(2, 100))) if name not in taken)


def _shown(server: ModelServer) -> dict[str, object]:
    return {"name": server.name, "base_url": server.base_url, "models": list(server.models)}
