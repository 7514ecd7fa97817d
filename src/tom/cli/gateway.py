"""``tom gateway``: as ``tom up``, but it makes nothing. Settings, users and certificate must be there."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tom.cli.directory import HouseLock, check_usable, existing, locate
from tom.cli.output import Status

if TYPE_CHECKING:
    from tom.gateway.bootstrap import Gateway


def make_parser() -> argparse.ArgumentParser:
    """The options of ``tom gateway``."""
    parser = argparse.ArgumentParser(
        prog="tom gateway",
        description="Start the gateway with the settings and the certificate of a data directory; make neither.",
    )
    parser.add_argument("--data", metavar="DIR", help="data directory (default: TOM_DATA, else ./data of a checkout)")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: global.listen.host)")
    parser.add_argument(
        "--port", type=int, metavar="N", help="port to listen on (default: global.listen.port, 443, 8443)"
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit status. Raises `Refused` and what the start met."""
    options = make_parser().parse_args(arguments)
    directory = existing(locate(options.data), status=Status.FAILED)
    check_usable(directory)
    with HouseLock(directory):
        from tom.spawner.process import ProcessSpawner

        spawner = ProcessSpawner()
        spawner.warm()

        from tom.cli import serving

        settings = serving.load(directory, options.host, options.port)
        try:
            return serving.serve(settings, spawner, announce)
        except Exception as error:
            raise serving.explained(error, settings.listen.port) from error


def announce(gateway: "Gateway") -> None:
    """Say where it can be opened."""
    print(f"🚀 Gateway listens on {', '.join(gateway.addresses)}", flush=True)
