"""The packets between a process spawner and its zygote: one JSON object each, with descriptors beside it.

| to the zygote                               | descriptors          | meaning                                   |
|---------------------------------------------|----------------------|-------------------------------------------|
| ``{"preload": [...], "later": [...]}``      |                      | import these; the second list when idle   |
| ``{"start": id, "user": …, "entry": "m:f"}``| listener, document   | fork an agent                             |

| from the zygote                             |                      |                                           |
|---------------------------------------------|----------------------|-------------------------------------------|
| ``{"ready": milliseconds}``                 |                      | the preload list is imported              |
| ``{"unusable": reason}``                    |                      | it cannot be imported; the zygote ends    |
| ``{"started": id, "pid": …}``               | pidfd                | the agent runs                            |
| ``{"refused": id, "reason": …}``            |                      | it does not                               |
| ``{"exited": pid, "status": …}``            |                      | it ended (negative: the signal)           |

The socket is of kind SEQPACKET, so a packet arrives whole or not at all; its end means that the other side is gone.
"""

import json
import socket
from collections.abc import Sequence
from typing import Any

LARGEST_PACKET = 65_536
MOST_DESCRIPTORS = 2


def send(channel: socket.socket, packet: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one packet. Raises OSError when the other side is gone (or does not read, on a non-blocking socket)."""
    socket.send_fds(channel, [json.dumps(packet).encode()], descriptors, socket.MSG_NOSIGNAL)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive one packet and its descriptors (not inheritable); None when the other side is gone."""
    try:
        content, descriptors, _, _ = socket.recv_fds(channel, LARGEST_PACKET, MOST_DESCRIPTORS)
    except ConnectionResetError:
        return None
    if not content:
        return None
    return json.loads(content), list(descriptors)
