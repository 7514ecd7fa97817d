"""`tom config explain` and `tom config example`: what holds and who says so; files to begin with."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tom.cli.directory import locate
from tom.cli.options import ConfigOption, DataOption, JsonOption, StandaloneOption
from tom.cli.output import Refused, Status, document, usage
from tom.config.invalid import ConfigInvalid
from tom.telemetry.redaction import redact


def explain(
    key: Annotated[str, typer.Argument(help="A key, a section or a variable; without one: all.", metavar="KEY")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    standalone: StandaloneOption = False,
    changed: Annotated[bool, typer.Option("--set", help="Only what somebody has said.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a setting is, who says so (environment, .env, file and line, default), and whom that overrules.

    Where there is no config.yml the settings are those of an agent that runs alone.
    """
    from tom.config.explain import DEFAULT, effective, find, nearest

    directory = locate(data)
    try:
        settings = effective(directory, config, alone=standalone or not is_house(directory, config), redact=redact)
    except ConfigInvalid as error:
        raise Refused(error.message, code=error.code) from error
    found = find(settings, key) if key else settings
    if not found:
        near = nearest(settings, key)
        hint = f"did you mean: tom config explain {near}" if near else "all settings: tom config explain"
        raise Refused(f"There is no setting '{key}'", status=Status.NOT_FOUND, hint=hint, code="unknown_setting")
    shown = [entry for entry in found if not changed or entry.source != DEFAULT]
    if as_json:
        document([_plain(entry) for entry in shown])
    elif len(shown) == 1 and key:
        _in_full(shown[0])
    else:
        _in_lines(shown)


def example(
    env: Annotated[bool, typer.Option("--env", help="The variables, as .env.")] = False,
    yaml: Annotated[bool, typer.Option("--yaml", help="A chat file, as app.config.yaml.")] = False,
) -> None:
    """Print an example file with every setting, its default and its meaning."""
    from tom.config.examples import env_example, yaml_example

    if env == yaml:
        usage("say which: tom config example --env, or --yaml")
    print(env_example() if env else yaml_example(), end="")


def is_house(directory: Path, config: Path | None) -> bool:
    """Whether there is a config.yml, so that the settings are those of a gateway and its people."""
    import os

    named = os.environ.get("TOM_CONFIG", "").strip()
    return config is not None or bool(named) or (directory / "config.yml").exists()


def _plain(entry: Any) -> dict[str, Any]:
    return {
        "key": entry.key,
        "value": entry.value,
        "source": entry.source,
        "secret": entry.secret,
        "variables": list(entry.variables),
        "overrules": [{"source": place.source, "value": place.value} for place in entry.overruled],
    }


def _in_full(entry: Any) -> None:
    print(f"{entry.key} = {_text(entry.value)}")
    print(f"  said by: {entry.source}")
    for place in entry.overruled:
        print(f"  overrules: {place.source}, which says {_text(place.value)}")
    if entry.variables:
        print(f"  a variable can say it: {', '.join(entry.variables)}")


def _in_lines(entries: Sequence[Any]) -> None:
    for entry in entries:
        over = f"; overrules {', '.join(place.source for place in entry.overruled)}" if entry.overruled else ""
        print(f"{entry.key} = {_text(entry.value)}  ({entry.source}{over})")


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) and value and "\n" not in value else json.dumps(value, ensure_ascii=False)
