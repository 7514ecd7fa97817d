"""``${VAR}``, ``${VAR:-default}`` and ``file:/path`` in settings: where a secret is looked up instead of written down."""

import re
from collections.abc import Mapping
from pathlib import Path

from tom.config.secret import Secret

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_LIMIT = 65_536


class Lookup:
    """Finds what a setting refers to. Relative files lie beside the file that names them."""

    def __init__(self, variables: Mapping[str, str], directory: Path, *others: Path) -> None:
        """``directory`` is that of config.yml, ``others`` are those of other files; the first that has a file wins."""
        self._variables = variables
        self._directories = (directory, *others)

    def text(self, text: str) -> str:
        """The text with its variables filled in; ValueError when one is not set."""
        return _VARIABLE.sub(self._value, text)

    def secret(self, given: Secret) -> Secret:
        """The secret itself; ValueError when a variable is not set or the file cannot be read."""
        text = given.reveal()
        if not text.startswith("file:"):
            return Secret(self.text(text))
        places = [directory / text.removeprefix("file:") for directory in self._directories]
        path = next((place for place in places if place.exists()), places[0])
        try:
            content = path.read_bytes()
            if len(content) > _LIMIT:
                raise ValueError(f"file {path} is larger than 64 KiB")
            return Secret(content.decode().rstrip("\r\n"))
        except UnicodeDecodeError:
            raise ValueError(f"file {path} is not UTF-8") from None
        except OSError as error:
            raise ValueError(f"file {path} cannot be read: {error.strerror}") from None

    def _value(self, match: re.Match[str]) -> str:
        value = self._variables.get(match[1], "") or (match[2] or "")
        if not value and match[2] is None:
            raise ValueError(f"variable {match[1]} is not set")
        return value


def refers(given: Secret) -> bool:
    """Whether the secret stands elsewhere than in the file."""
    return given.reveal().startswith("file:") or _VARIABLE.search(given.reveal()) is not None
