"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="Data directory (default: TOM_DATA, else ./data of a checkout)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Another config.yml; else TOM_CONFIG.")]
StandaloneOption = Annotated[
    bool, typer.Option("--standalone", help="As an agent that runs alone reads them; config.yml need not be there.")
]
