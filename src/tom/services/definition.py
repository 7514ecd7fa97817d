"""A tool's whole definition as its service wrote it, in one spelling, and the hash that stands for it."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """``value`` as JSON in one spelling: sorted names, no spaces, everything beyond ASCII escaped."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def pretty(written: str) -> str:
    """A canonical text over several lines, for people: what cannot be seen stays escaped."""
    text = json.dumps(json.loads(written), sort_keys=True, indent=2, ensure_ascii=False)
    return "".join(letter if letter == "\n" or letter.isprintable() else _escaped(letter) for letter in text)


def digest(*parts: str) -> str:
    """``sha256:…`` of the parts, whose borders count."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        whole.update(len(content).to_bytes(8, "big") + content)
    return f"sha256:{whole.hexdigest()}"


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1]
