"""Time zones named in a sentence: ``Europe/Paris``, ``Paris``, ``new york``, ``تهران``."""

import re
from functools import cache
from zoneinfo import available_timezones

_AREAS = frozenset(
    {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)
_NO_PLACES = frozenset(
    {"center", "easter", "eastern", "west", "north", "south", "yukon", "general", "currie", "midway"}
)
_OTHER_NAMES = {
    "utc": "UTC",
    "gmt": "UTC",
    "iran": "Asia/Tehran",
    "japan": "Asia/Tokyo",
    "germany": "Europe/Berlin",
    "france": "Europe/Paris",
    "italy": "Europe/Rome",
    "india": "Asia/Kolkata",
    "egypt": "Africa/Cairo",
    "turkey": "Europe/Istanbul",
    "uk": "Europe/London",
    "england": "Europe/London",
    "munich": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "geneva": "Europe/Zurich",
    "barcelona": "Europe/Madrid",
    "milan": "Europe/Rome",
    "beijing": "Asia/Shanghai",
    "mumbai": "Asia/Kolkata",
    "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "isfahan": "Asia/Tehran",
    "shiraz": "Asia/Tehran",
    "washington": "America/New_York",
    "boston": "America/New_York",
    "miami": "America/New_York",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "houston": "America/Chicago",
    "rio de janeiro": "America/Sao_Paulo",
    "تهران": "Asia/Tehran",
    "ایران": "Asia/Tehran",
    "پاریس": "Europe/Paris",
    "لندن": "Europe/London",
    "برلین": "Europe/Berlin",
    "توکیو": "Asia/Tokyo",
    "نیویورک": "America/New_York",
    "استانبول": "Europe/Istanbul",
    "دبی": "Asia/Dubai",
}
_LONGEST = 4
"""Words in the longest name of a place."""


def zones_in(text: str) -> list[str]:
    """The IANA names of the zones that ``text`` speaks of, in its order, each once."""
    places = _places()
    words = re.findall(r"[^\W\d_]+(?:[/_][^\W\d_]+)*", text)
    found: list[str] = []
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            zone = places.get(" ".join(words[at : at + length]).lower())
            if zone is not None:
                if zone not in found:
                    found.append(zone)
                at += length
                break
        else:
            at += 1
    return found


@cache
def _places() -> dict[str, str]:
    """Place -> zone: the last part of each IANA name, the whole name, and names that the list does not have."""
    places: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        area, _, place = zone.partition("/")
        if area in _AREAS:
            city = place.rpartition("/")[2].replace("_", " ").lower()
            if city not in _NO_PLACES:
                places.setdefault(city, zone)
            places[zone.lower()] = zone
    return places | _OTHER_NAMES
