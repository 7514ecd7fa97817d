"""Options that several commands share."""

from typing import Annotated

import typer

DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="Data directory (default: TOM_DATA, else ./data of a checkout)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
