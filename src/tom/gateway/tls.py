"""The certificate: what is wrong with it, and how it is served. `tom gateway` never makes one (see `selfsigned`)."""

import contextlib
import os
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SOON_DAYS: Final = 14
_SMALLEST_RSA: Final = 2048
_BROKEN_HASHES: Final = ("md5", "sha1")
_WIDER_THAN_0640: Final = 0o037
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, good enough to be served. ``pem`` holds both, and the chain."""

    pem: bytes = field(repr=False)
    passphrase: str | None = field(repr=False)
    names: tuple[str, ...]
    not_after: datetime
    self_signed: bool
    fingerprint: str

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and later with forward secrecy and authenticated encryption only. Raises ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        # The library reads files only; this one is in memory, so what was checked is what is served.
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as memory:  # noqa: PTH123 - a descriptor
            memory.write(self.pem)
            memory.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=self.passphrase)
        return context

    def state(self, now: datetime) -> str:
        """A word for health: ``ok``, ``expiring`` or ``expired``."""
        if now > self.not_after:
            return "expired"
        return "expiring" if (self.not_after - now).days <= SOON_DAYS else "ok"


@dataclass(slots=True)
class Findings:
    """What the checks found: lines with their icon, and the certificate unless it is refused."""

    messages: list[str] = field(default_factory=list[str])
    certificate: Certificate | None = None

    @property
    def refused(self) -> bool:
        """It cannot be served."""
        return self.certificate is None


def inspect(directory: Path, *, passphrase: str | None, now: datetime) -> Findings:
    """Check ``cert.pem``, ``key.pem`` and the optional ``chain.pem`` in ``directory``; all checks run."""
    checks = _Checks(directory, passphrase, now)
    return Findings(checks.messages, checks.run())


class _Checks:
    def __init__(self, directory: Path, passphrase: str | None, now: datetime) -> None:
        self._directory = directory
        self._passphrase = passphrase
        self._now = now
        self.messages: list[str] = []

    def run(self) -> Certificate | None:
        cert_path, key_path = self._directory / "cert.pem", self._directory / "key.pem"
        cert_pem = self._read(cert_path, "certificate")
        key_pem = self._read(key_path, "private key")
        leaf = self._parse_certificate(cert_path, cert_pem) if cert_pem is not None else None
        key = self._parse_key(key_path, key_pem) if key_pem is not None else None
        if leaf is not None and key is not None and _public_bytes(leaf.public_key()) != _public_bytes(key.public_key()):
            self.messages.append("❌ TLS private key does not match the certificate")
        if leaf is not None:
            self._check_strength(leaf)
            self._check_dates(leaf)
        chain_pem = self._chain(leaf) if leaf is not None else b""
        if key_pem is not None and key_path.stat().st_mode & _WIDER_THAN_0640:
            self.messages.append(f"⚠️ TLS private key is readable by others: {key_path}")
        if leaf is None or cert_pem is None or key_pem is None or self._has_errors():
            return None
        names = names_of(leaf)
        if leaf.not_valid_after_utc > self._now and self._days_left(leaf) > SOON_DAYS:
            until = leaf.not_valid_after_utc
            self.messages.append(f"✅ TLS certificate for {', '.join(names)}, valid until {until:%Y-%m-%d}")
        return Certificate(
            pem=b"\n".join((cert_pem, chain_pem, key_pem)),
            passphrase=self._passphrase if _is_encrypted(key_pem) else None,
            names=names,
            not_after=leaf.not_valid_after_utc,
            self_signed=_is_self_signed(leaf),
            fingerprint=leaf.fingerprint(hashes.SHA256()).hex(":").upper(),
        )

    def _has_errors(self) -> bool:
        return any(line.startswith("❌") and "expired on" not in line for line in self.messages)

    def _read(self, path: Path, what: str) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self.messages.append(f"❌ TLS {what} not found: {path}")
        except OSError:
            self.messages.append(f"❌ TLS file is not readable by uid {os.geteuid()}: {path}")
        return None

    def _parse_certificate(self, path: Path, pem: bytes) -> x509.Certificate | None:
        try:
            return x509.load_pem_x509_certificates(pem)[0]
        except ValueError:
            self.messages.append(f"❌ TLS certificate is not valid PEM: {path}")
            return None

    def _parse_key(self, path: Path, pem: bytes) -> Any:
        encrypted = _is_encrypted(pem)
        password = self._passphrase.encode() if self._passphrase and encrypted else None
        try:
            return serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if encrypted:
                self.messages.append("❌ TLS private key is encrypted; set TOM_TLS_PASSPHRASE")
            else:
                self.messages.append(f"❌ TLS private key is not valid PEM: {path}")
            return None

    def _check_strength(self, leaf: x509.Certificate) -> None:
        key = leaf.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
            self.messages.append(f"❌ TLS certificate is too weak: RSA key of {key.key_size} bit")
        algorithm = _signature_hash(leaf)
        if algorithm in _BROKEN_HASHES:
            self.messages.append(f"❌ TLS certificate is too weak: signed with {algorithm.upper()}")

    def _check_dates(self, leaf: x509.Certificate) -> None:
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if self._now < begin:
            self.messages.append(f"❌ TLS certificate is not valid before {begin:%Y-%m-%d}")
        if self._now > end:
            self.messages.append(f"❌ TLS certificate expired on {end:%Y-%m-%d}")
        elif self._days_left(leaf) <= SOON_DAYS:
            self.messages.append(f"⚠️ TLS certificate expires on {end:%Y-%m-%d} ({self._days_left(leaf)} days)")

    def _days_left(self, leaf: x509.Certificate) -> int:
        return (leaf.not_valid_after_utc - self._now).days

    def _chain(self, leaf: x509.Certificate) -> bytes:
        path = self._directory / "chain.pem"
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError:
            self.messages.append(f"❌ TLS file is not readable by uid {os.geteuid()}: {path}")
            return b""
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(pem)[0])
        except (ValueError, TypeError, InvalidSignature):
            self.messages.append("⚠️ TLS chain.pem does not belong to cert.pem, ignored")
            return b""
        return pem


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and addresses that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        attributes = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(str(attribute.value) for attribute in attributes)
    addresses = extension.get_values_for_type(x509.IPAddress)
    return (*extension.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))


def _signature_hash(leaf: x509.Certificate) -> str:
    with contextlib.suppress(UnsupportedAlgorithm):
        algorithm = leaf.signature_hash_algorithm
        return algorithm.name if algorithm else ""
    return ""


def _is_self_signed(leaf: x509.Certificate) -> bool:
    if leaf.issuer != leaf.subject:
        return False
    try:
        leaf.verify_directly_issued_by(leaf)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_encrypted(pem: bytes) -> bool:
    return b"ENCRYPTED" in pem


def _public_bytes(key: Any) -> bytes:
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return cast("bytes", encoded)
