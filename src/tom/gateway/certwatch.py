"""The certificate in use: new files are picked up for new connections, an expired one is complained of hourly."""

import ssl
from pathlib import Path
from typing import Final

from tom.clock import Clock
from tom.gateway.refusals import StartRefused
from tom.gateway.tls import Certificate, Findings, inspect
from tom.telemetry import logs

log = logs.get("tls")

_LOOK_EVERY: Final = 2.0
_COMPLAIN_EVERY: Final = 3600.0
_FILES: Final = ("cert.pem", "key.pem", "chain.pem")


class CertificateWatch:
    """Serves the pair in a directory and follows its changes."""

    def __init__(self, directory: Path, *, passphrase: str | None, clock: Clock) -> None:
        """Check and load. `StartRefused` with all messages when the pair cannot be served."""
        self._directory = directory
        self._passphrase = passphrase
        self._clock = clock
        self._seen = self._stamp()
        findings = self._inspect()
        if findings.certificate is None:
            raise StartRefused(findings.messages)
        self._context = findings.certificate.context()
        self.certificate: Certificate = findings.certificate
        self.messages = findings.messages
        # New connections ask here which certificate they get; the listener keeps its first context.
        self.context = findings.certificate.context()
        self.context.sni_callback = self._choose
        self._complained = clock.monotonic()
        _tell(findings.messages)

    @property
    def state(self) -> str:
        """A word for health."""
        return self.certificate.state(self._clock.now())

    async def run(self) -> None:
        """Look every two seconds; until cancelled."""
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Take new files into use if they are good; keep the old ones if not."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._replace()
        elif self.state == "expired" and self._clock.monotonic() - self._complained >= _COMPLAIN_EVERY:
            self._complained = self._clock.monotonic()
            log.error(f"❌ TLS certificate expired on {self.certificate.not_after:%Y-%m-%d}", event="tls_expired")

    def _replace(self) -> None:
        findings = self._inspect()
        _tell(findings.messages)
        if findings.certificate is None:
            log.error("❌ TLS: the new files cannot be used, the old certificate stays", event="tls_not_reloaded")
            return
        try:
            self._context = findings.certificate.context()
        except ssl.SSLError as error:
            log.error("❌ TLS: the new files cannot be used, the old stay", event="tls_not_reloaded", error=error)
            return
        self.certificate = findings.certificate
        log.info("🔁 TLS certificate reloaded", event="tls_reloaded", fingerprint=self.certificate.fingerprint)

    def _inspect(self) -> Findings:
        return inspect(self._directory, passphrase=self._passphrase, now=self._clock.now())

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(self._directory / name) for name in _FILES)

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._context


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _tell(messages: list[str]) -> None:
    for message in messages:
        if message.startswith("✅"):
            log.info(message, event="tls")
        elif message.startswith("⚠️"):
            log.warning(message, event="tls")
        else:
            log.error(message, event="tls")
