"""``tom up``: everything that one machine needs, from an empty directory on."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tom.cli.directory import HouseLock, locate, make_private

if TYPE_CHECKING:
    from tom.cli.firstrun import FirstRun
    from tom.config.localservers import ModelServer
    from tom.config.settings import Settings
    from tom.gateway.bootstrap import Gateway


def make_parser() -> argparse.ArgumentParser:
    """The options of ``tom up``."""
    parser = argparse.ArgumentParser(
        prog="tom up",
        description="Start the gateway and, on demand, an agent for each person. In an empty data directory it makes "
        "settings, a self-signed certificate and a first user, whose password is printed this once.",
    )
    parser.add_argument("--data", metavar="DIR", help="data directory (default: TOM_DATA, else ./data of a checkout)")
    parser.add_argument("--user", metavar="NAME", default="", help="name of the first user (default: your login name)")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: global.listen.host)")
    parser.add_argument(
        "--port", type=int, metavar="N", help="port to listen on (default: global.listen.port, 443, 8443)"
    )
    parser.add_argument(
        "--no-detect", action="store_true", help="do not look for model servers on this machine at the first start"
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit status. Raises `Refused` and what the start met."""
    options = make_parser().parse_args(arguments)
    directory = locate(options.data)
    make_private(directory)
    with HouseLock(directory):
        from tom.spawner.process import ProcessSpawner

        spawner = ProcessSpawner()
        spawner.warm()  # it imports while this process does

        from tom.cli import firstrun, serving
        from tom.gateway.selfsigned import ensure_pair

        first = firstrun.make_house(directory, options.user) if firstrun.is_first_run(directory) else None
        settings = serving.load(directory, options.host, options.port)
        first = first or firstrun.give_first_password(settings)
        ensure_pair(directory / "tls", datetime.now(UTC))
        servers = [] if options.no_detect or first is None else model_servers(settings)
        try:
            return serving.serve(settings, spawner, lambda gateway: announce(gateway, settings, first, servers))
        except Exception as error:
            raise serving.explained(error, settings.listen.port) from error


def model_servers(settings: "Settings") -> "list[ModelServer]":
    """The model servers of this machine, where no language model is set up; looking takes 0.3 s at most."""
    if settings.llm in settings.llms:
        return []
    from tom.config.localservers import find_servers

    own = {settings.listen.port or 8443, *(settings.listen.loopback_http or ())[1:]}
    return [server for server in find_servers(own=own) if server.models]


def announce(
    gateway: "Gateway", settings: "Settings", first: "FirstRun | None", servers: "Sequence[ModelServer]" = ()
) -> None:
    """Say what runs and what to do next."""
    address = gateway.addresses[0]
    lines = [("open", f"{address}/")]
    if first is not None:
        lines += [("user", first.user), ("password", f"{first.password}   (shown this once)")]
    else:
        lines.append(("restored", restored(settings)))
    lines += [
        ("data", str(settings.data_dir)),
        ("model", model_in_words(settings)),
        ("certificate", f"SHA-256 {gateway.fingerprint}"),
    ]
    print("\n🚀 Tom runs.\n")
    for name, value in lines:
        print(f"  {name:<12} {value}")
    print()
    for line in next_steps(settings, first, servers):
        print(f"  {line}")
    print(flush=True)


def restored(settings: "Settings") -> str:
    """How many people there are and how much is remembered of them."""
    homes = [settings.data_dir / "users" / user.username / "history.db" for user in settings.users]
    kept = [path.stat().st_size for path in homes if path.exists()]
    people = "1 person" if len(settings.users) == 1 else f"{len(settings.users)} people"
    return f"{people}, {len(kept)} with history ({sum(kept) / 1_048_576:.1f} MiB)"


def model_in_words(settings: "Settings") -> str:
    """The model that answers."""
    entry = settings.llms.get(settings.llm)
    if entry is not None:
        return f"{settings.llm}: {', '.join(dict.fromkeys(entry.models))}"
    if settings.llm == "scripted":
        return "scripted: no language model is set up, answers follow rules"
    return "none: set a provider's key, see docs/howto/add-a-model.md"


def next_steps(settings: "Settings", first: "FirstRun | None", servers: "Sequence[ModelServer]" = ()) -> list[str]:
    """What to do next, the most useful first."""
    data = f" --data {settings.data_dir}" if settings.data_dir != locate() else ""
    steps = ["Ctrl+C stops it; nothing is lost."]
    if settings.llm not in settings.llms:
        steps.insert(0, f"A language model: tom llm add openai{data} (anthropic, gemini, groq, …)")
    for server in servers:
        many = "1 model" if len(server.models) == 1 else f"{len(server.models)} models"
        steps.insert(0, f"{server.name} with {many} answers at {server.base_url}; enter it: tom llm detect{data}")
    if first is not None:
        steps.insert(0, "Your browser does not know this certificate: compare its fingerprint once, then go on.")
    if not settings.users:
        steps.insert(0, f"Nobody may log in yet: tom user add NAME{data}")
    return steps
