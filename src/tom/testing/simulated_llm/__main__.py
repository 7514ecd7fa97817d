"""The simulated endpoint as a program: ``python -m tom.testing.simulated_llm --port 20080``."""

import argparse
import sys

from tom.testing.simulated_llm.desk import Author
from tom.testing.simulated_llm.endpoint import SimulatedLLM
from tom.testing.simulated_llm.request import ReceivedRequest
from tom.testing.simulated_llm.script import Script


def main() -> None:
    """Serve until a signal ends it; prints the base URL when it listens."""
    options = _parser().parse_args()
    answer: Author = Script.chunks(options.chunks, options.chunk_bytes, delay=options.delay_ms / 1000)
    if options.tool_first:
        answer = tool_first(options.tool_first, answer)
    endpoint = SimulatedLLM(otherwise=answer, port=options.port, chunks_per_write=options.chunks_per_write)

    def listening() -> None:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()

    endpoint.run(listening)


def tool_first(call: str, then: Script) -> Author:
    """Ask for ``call`` (``NAME:JSON``) where the person spoke last, and answer with ``then`` after its result."""
    name, _, arguments = call.partition(":")
    asking = Script.tool_calls((name, arguments or "{}"))

    def choose(request: ReceivedRequest) -> Script:
        return asking if request.last_role == "user" else then

    return choose


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tom.testing.simulated_llm", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--chunks", type=int, default=64, help="chunks of text per answer (64)")
    parser.add_argument("--chunk-bytes", type=int, default=22, help="letters per chunk (22)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="milliseconds between chunks (0)")
    parser.add_argument("--tool-first", metavar="NAME:JSON", help="ask for this tool call before the text")
    parser.add_argument("--chunks-per-write", type=int, default=0, help="without a delay: 0 writes all at once (0)")
    return parser


if __name__ == "__main__":
    main()
