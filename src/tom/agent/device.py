"""A few words for the device that an answer came from, made of what its program says of itself."""

import re

LONGEST = 60
_PROGRAMS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_UNFIT = re.compile(r"[^A-Za-z0-9 ._/()-]")


def device_of(user_agent: str) -> str:
    """``Firefox on Android`` for a browser, else the cleaned and cut ``User-Agent``; empty when there is none."""
    if user_agent.startswith("Mozilla/"):
        program = next((name for mark, name in _PROGRAMS if mark in user_agent), "Browser")
        system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
        return f"{program} on {system}" if system else program
    return _UNFIT.sub("", user_agent)[:LONGEST].strip()
