"""The certificate that `tom up` makes when there is none, and renews only if it made it."""

import ipaddress
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tom.accounts.hosts import own_addresses

DAYS: Final = 397
RENEW_DAYS: Final = 30
_MARK: Final = "self-signed"


def ensure_pair(directory: Path, now: datetime) -> str | None:
    """Make ``cert.pem`` and ``key.pem`` when both are missing, or when they were made here and end within 30 days.

    Returns the SHA-256 fingerprint of a pair that was made now, else None. One file without the other is left alone.
    """
    cert_path, key_path = directory / "cert.pem", directory / "key.pem"
    if cert_path.exists() != key_path.exists():
        return None
    if cert_path.exists() and not _is_ours_and_ending(directory, now):
        return None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, own_names(), now)
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(directory / _MARK, fingerprint.encode(), 0o600)
    _write(key_path, pem, 0o600)
    _write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return fingerprint


def own_names() -> list[str]:
    """The names of this machine: host name, ``<host>.local``, ``localhost``, its addresses."""
    host = socket.gethostname().partition(".")[0].lower()
    names = [socket.gethostname().lower(), f"{host}.local", "localhost", "127.0.0.1", "::1", *own_addresses()]
    return list(dict.fromkeys(name for name in names if name))


def _is_ours_and_ending(directory: Path, now: datetime) -> bool:
    try:
        mark = (directory / _MARK).read_text("ascii").strip()
        certificate = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    except (OSError, ValueError):
        return False
    ours = certificate.fingerprint(hashes.SHA256()).hex(":").upper() == mark
    return ours and certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS)


def _sign(key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file as a whole, with its mode from the first moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
