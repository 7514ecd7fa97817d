"""What the endpoint is told to answer. A script is a value: it can be compared, kept and used any number of times."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tom.testing.simulated_llm.faults import Fault

GREETING = "Hello from the simulated model."
_WORDS = "so it goes on with one more word of text and then yet another "


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; ``arguments`` is JSON text."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One answer. Made by `text`, `chunks`, `tool_calls`, `fault` or `raw`."""

    pieces: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str = ""
    delay: float = 0.0
    usage: tuple[int, int] | None = None
    tells_usage: bool = True
    plain: bool = False
    body: bytes | None = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    trouble: Fault | None = None
    after: int = 3
    seconds: float = 2.0
    rate: float = 1.0
    times: int = 2
    size: int = 100_000_000

    @classmethod
    def text(
        cls,
        text: str = GREETING,
        *,
        pieces: Sequence[str] | None = None,
        thinking: str = "",
        finish: str = "stop",
        delay: float = 0.0,
        usage: tuple[int, int] | None = None,
        tells_usage: bool = True,
        plain: bool = False,
    ) -> Self:
        """Say ``text`` word by word, or in the given ``pieces``, ``delay`` seconds apart, after ``thinking``.

        ``usage`` is (prompt, completion), by default (11, number of chunks); ``tells_usage`` false keeps it quiet.
        ``plain`` answers one JSON document even where a stream was asked for.
        """
        return cls(
            pieces=_words(text) if pieces is None else tuple(pieces),
            thoughts=_words(thinking),
            finish=finish,
            delay=delay,
            usage=usage,
            tells_usage=tells_usage,
            plain=plain,
        )

    @classmethod
    def chunks(cls, count: int = 64, size: int = 22, *, delay: float = 0.0) -> Self:
        """Say ``count`` chunks of ``size`` letters, ``delay`` seconds apart: the upstream of the benchmarks."""
        line = _WORDS * (size // len(_WORDS) + 2)
        return cls(pieces=tuple(line[(start := at % len(_WORDS)) : start + size] for at in range(count)), delay=delay)

    @classmethod
    def tool_calls(
        cls,
        *calls: Call | tuple[str, Mapping[str, Any] | str],
        text: str = "",
        delay: float = 0.0,
        plain: bool = False,
    ) -> Self:
        """Ask for ``calls``, each a `Call` or (name, arguments as a mapping or as JSON text), after saying ``text``."""
        return cls(pieces=_words(text), calls=tuple(map(_call, calls)), finish="tool_calls", delay=delay, plain=plain)

    @classmethod
    def fault(
        cls,
        kind: Fault | str,
        *,
        text: str = GREETING,
        after: int = 3,
        seconds: float = 2.0,
        rate: float = 1.0,
        times: int = 2,
        size: int = 100_000_000,
        retry_after: str = "1",
        plain: bool = False,
    ) -> Self:
        """Go wrong in the way of ``kind``; see `Fault` for the options that matter. Raises ValueError for another."""
        kind = Fault(kind)
        headers = (("Retry-After", retry_after),) if kind is Fault.RATE_LIMITED else ()
        pieces = () if kind is Fault.EMPTY else _words(text)
        return cls(
            pieces=pieces,
            finish="stop",
            trouble=kind,
            headers=headers,
            after=after,
            seconds=seconds,
            rate=rate,
            times=times,
            size=size,
            plain=plain,
        )

    @classmethod
    def raw(
        cls,
        body: bytes,
        *,
        status: int = 200,
        media: str = "text/event-stream",
        headers: Sequence[tuple[str, str]] = (),
        delay: float = 0.0,
    ) -> Self:
        """Send ``body`` as it is; with a ``delay``, byte by byte."""
        return cls(body=body, status=status, headers=(("Content-Type", media), *headers), delay=delay)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``POST /control/script`` takes. Raises ValueError or TypeError for anything else."""
        options = dict(value)
        if "fault" in options:
            return cls.fault(options.pop("fault"), **options)
        if "tool_calls" in options:
            calls = [(call["name"], call.get("arguments", "{}")) for call in options.pop("tool_calls")]
            return cls.tool_calls(*calls, **options)
        if "chunks" in options:
            return cls.chunks(options.pop("chunks"), **options)
        return cls.text(options.pop("text"), **options)


def _words(text: str) -> tuple[str, ...]:
    """The text in fragments of one word with the blank behind it."""
    parts = text.split(" ")
    return tuple([f"{part} " for part in parts[:-1]] + parts[-1:]) if text else ()


def _call(call: Call | tuple[str, Mapping[str, Any] | str]) -> Call:
    if isinstance(call, Call):
        return call
    name, arguments = call
    return Call(name, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))
