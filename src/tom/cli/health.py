"""``tom health``: whether a program on this machine lives. Needs no curl, for containers' health checks."""

import asyncio
import http.client
import json
import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tom.cli.directory import existing, locate
from tom.cli.output import Refused, Status, document, usage

SECONDS = 5.0


def show(program: str, data: str | None, port: int | None, *, as_json: bool) -> int:
    """Ask and print the answer; returns 0 or 1."""
    try:
        match program:
            case "gateway":
                answer = ask_gateway(existing(locate(data), status=Status.FAILED), port)
            case "agent":
                answer = _get(http.client.HTTPConnection("127.0.0.1", port or 8080, timeout=SECONDS), "/health")
            case _:
                usage(f"There is no program '{program}': gateway or agent")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(f"The {program} does not answer: {error}", code="unhealthy") from error
    if as_json:
        document(answer)
    else:
        print(f"✅ {program}: {answer.get('status', 'ok')}")
    return Status.DONE


def ask_gateway(directory: Path, port: int | None = None) -> dict[str, Any]:
    """``GET /health`` over HTTPS, trusting exactly the certificate in the data directory. Raises OSError, ValueError.

    ``port``: where to ask; else where the running gateway says it is, else as config.yml says.
    """
    from tom.config.settings import Settings

    settings = Settings.load(directory)
    host = settings.listen.host
    address = "127.0.0.1" if host in {"0.0.0.0", "::", "localhost"} else host
    context, name = trust(directory / "tls" / "cert.pem")
    port = port if port is not None else _port_in_use(directory) or settings.listen.port
    ports = [443, 8443] if port is None else [port]
    problem: Exception = ConnectionRefusedError("nothing listens")
    for candidate in ports:
        try:
            return _get(_Pinned(address, candidate, name, context), "/health")
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem = error
    raise problem


def _port_in_use(directory: Path) -> int | None:
    """The port of the running gateway, which its command line may have chosen; None when it cannot be asked."""
    from tom.gateway.agentlink import LinkError
    from tom.gateway.controlclient import ask_gateway as ask_control

    try:
        _, answer = asyncio.run(ask_control(directory, "GET", "/health"))
        address: str = answer["addresses"][0]
        return urlsplit(address).port or 443
    except (LinkError, LookupError, ValueError):
        return None


def trust(certificate: Path) -> tuple[ssl.SSLContext, str]:
    """A context that trusts this certificate only, and a name that it is for."""
    from cryptography import x509

    from tom.gateway.tls import names_of

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    names = names_of(x509.load_pem_x509_certificate(certificate.read_bytes()))
    return context, "localhost" if "localhost" in names else next(iter(names), "localhost")


class _Pinned(http.client.HTTPSConnection):
    """HTTPS to an address under the name of its certificate."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=SECONDS, context=context)
        self._address = address
        self._trusting = context

    def connect(self) -> None:
        import socket

        plain = socket.create_connection((self._address, self.port), SECONDS)
        self.sock = self._trusting.wrap_socket(plain, server_hostname=self.host)


def _get(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    try:
        connection.request(
            "GET", path, headers={"accept": "application/json", "user-agent": f"tom-health/{os.getpid()}"}
        )
        answer = connection.getresponse()
        body = answer.read(65_536)
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    return json.loads(body)
