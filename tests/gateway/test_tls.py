"""The certificate: every row of the table, what is served, and how it changes while the gateway runs."""

import asyncio
import datetime as dt
import ipaddress
import os
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tom.gateway.certwatch import CertificateWatch
from tom.gateway.refusals import StartRefused
from tom.gateway.selfsigned import ensure_pair
from tom.gateway.tls import inspect
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
def anyio_backend(request):
    """The product runs on uvloop; both loops must do."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def make(
    key=None, *, begin=-1, end=100, issuer=None, signer=None, digest=None, common_name="house", names=("house.example",)
):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    alternative = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + dt.timedelta(days=begin))
        .not_valid_after(NOW + dt.timedelta(days=end))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer or key, digest or hashes.SHA256())
    )
    return key, certificate


def write(directory, key, certificate, *, passphrase=None, mode=0o600):
    directory.mkdir(exist_ok=True)
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (directory / "key.pem").write_bytes(pem)
    (directory / "key.pem").chmod(mode)
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def tls(tmp_path):
    return tmp_path / "tls"


def look(tls, *, passphrase=None, now=NOW):
    return inspect(tls, passphrase=passphrase, now=now)


def test_a_good_pair_is_served_and_named(tls):
    write(tls, *make())
    findings = look(tls)
    assert findings.messages == ["✅ TLS certificate for house.example, 192.0.2.1, valid until 2026-09-09"]
    assert findings.certificate.names == ("house.example", "192.0.2.1")
    assert findings.certificate.self_signed


def test_missing_files_are_all_named(tls):
    assert look(tls).messages == [
        f"❌ TLS certificate not found: {tls}/cert.pem",
        f"❌ TLS private key not found: {tls}/key.pem",
    ]
    assert look(tls).refused


def test_an_unreadable_file_names_the_uid(tls):
    write(tls, *make())
    (tls / "key.pem").unlink()
    (tls / "key.pem").mkdir()
    findings = look(tls)
    assert findings.messages[0] == f"❌ TLS file is not readable by uid {os.geteuid()}: {tls}/key.pem"
    assert findings.refused


def test_what_is_no_pem_is_refused(tls):
    write(tls, *make())
    (tls / "cert.pem").write_text("hello")
    (tls / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    assert look(tls).messages == [
        f"❌ TLS certificate is not valid PEM: {tls}/cert.pem",
        f"❌ TLS private key is not valid PEM: {tls}/key.pem",
    ]


@pytest.mark.parametrize("given", [None, "wrong"])
def test_an_encrypted_key_needs_its_passphrase(tls, given):
    write(tls, *make(), passphrase=b"secret words")
    assert look(tls, passphrase=given).messages == ["❌ TLS private key is encrypted; set TOM_TLS_PASSPHRASE"]
    findings = look(tls, passphrase="secret words")
    assert not findings.refused
    findings.certificate.context()


def test_a_passphrase_that_is_not_needed_does_no_harm(tls):
    write(tls, *make())
    look(tls, passphrase="secret words").certificate.context()


def test_a_key_of_another_certificate_is_refused(tls):
    _, certificate = make()
    write(tls, ec.generate_private_key(ec.SECP256R1()), certificate)
    assert "❌ TLS private key does not match the certificate" in look(tls).messages
    assert look(tls).refused


def test_weak_keys_and_signatures_are_refused(tls):
    write(tls, *make(rsa.generate_private_key(65537, 1024)))
    assert "❌ TLS certificate is too weak: RSA key of 1024 bit" in look(tls).messages
    assert look(tls).refused


def test_a_signature_with_sha1_is_refused(tls, tmp_path):
    key = tmp_path / "k.pem"
    import subprocess

    tls.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-keyout", key, "-out", tls / "cert.pem",
         "-days", "30", "-subj", "/CN=old"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (tls / "key.pem").write_bytes(key.read_bytes())
    findings = inspect(tls, passphrase=None, now=dt.datetime.now(dt.UTC))
    assert "❌ TLS certificate is too weak: signed with SHA1" in findings.messages
    assert findings.refused


def test_dates(tls):
    write(tls, *make(begin=2))
    assert look(tls).messages == ["❌ TLS certificate is not valid before 2026-06-03"]
    assert look(tls).refused
    write(tls, *make(begin=-20, end=-2))
    findings = look(tls)
    assert findings.messages == ["❌ TLS certificate expired on 2026-05-30"]
    assert not findings.refused, "people shall still be able to come in and mend it"
    assert findings.certificate.state(NOW) == "expired"
    write(tls, *make(end=14))
    findings = look(tls)
    assert findings.messages == ["⚠️ TLS certificate expires on 2026-06-15 (14 days)"]
    assert findings.certificate.state(NOW) == "expiring"
    write(tls, *make(end=16))
    assert look(tls).messages[0].startswith("✅")


def test_a_chain_is_appended_when_it_belongs_and_ignored_when_not(tls):
    root_key, root = make(common_name="root")
    write(tls, *make(issuer=root.subject, signer=root_key))
    (tls / "chain.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    findings = look(tls)
    assert not any("chain" in message for message in findings.messages)
    assert findings.certificate.pem.count(b"BEGIN CERTIFICATE") == 2
    assert not findings.certificate.self_signed
    _, stranger = make(common_name="stranger")
    for content in (stranger.public_bytes(serialization.Encoding.PEM), b"hello"):
        (tls / "chain.pem").write_bytes(content)
        findings = look(tls)
        assert "⚠️ TLS chain.pem does not belong to cert.pem, ignored" in findings.messages
        assert findings.certificate.pem.count(b"BEGIN CERTIFICATE") == 1


def test_a_key_that_others_can_read_is_warned_of(tls):
    write(tls, *make(), mode=0o644)
    findings = look(tls)
    assert f"⚠️ TLS private key is readable by others: {tls}/key.pem" in findings.messages
    assert not findings.refused
    for mode in (0o600, 0o640, 0o400):
        (tls / "key.pem").chmod(mode)
        assert not any("readable by others" in message for message in look(tls).messages)


# --- made by tom up ----------------------------------------------------------------------------------------------


def test_a_pair_is_made_when_there_is_none_and_left_alone_afterwards(tls):
    fingerprint = ensure_pair(tls, NOW)
    content = (tls / "cert.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(content)
    assert certificate.fingerprint(hashes.SHA256()).hex(":").upper() == fingerprint
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)
    assert certificate.not_valid_after_utc == NOW + dt.timedelta(days=397)
    names = look(tls).certificate.names
    host = socket.gethostname().partition(".")[0].lower()
    assert {"localhost", "127.0.0.1", "::1", f"{host}.local"} <= set(names)
    assert (tls / "key.pem").stat().st_mode & 0o777 == 0o600
    assert ensure_pair(tls, NOW + dt.timedelta(days=300)) is None
    assert (tls / "cert.pem").read_bytes() == content


def test_what_was_made_here_is_renewed_thirty_days_before_its_end_and_nothing_else(tls):
    first = ensure_pair(tls, NOW)
    assert ensure_pair(tls, NOW + dt.timedelta(days=366)) is None
    assert ensure_pair(tls, NOW + dt.timedelta(days=368)) not in {None, first}
    write(tls, *make(end=5))
    content = (tls / "cert.pem").read_bytes()
    assert ensure_pair(tls, NOW) is None
    assert (tls / "cert.pem").read_bytes() == content


@pytest.mark.parametrize("present", ["cert.pem", "key.pem"])
def test_one_file_without_the_other_is_refused_and_left(tls, present):
    tls.mkdir()
    (tls / present).write_text("precious")
    assert ensure_pair(tls, NOW) is None
    assert [path.name for path in tls.iterdir()] == [present]
    assert look(tls).refused


# --- served ------------------------------------------------------------------------------------------------------


async def served(door):
    """The certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(certificate)


async def test_new_files_are_served_to_new_connections_and_bad_ones_are_not(door):
    watch = door.gateway._watch
    first = await served(door)
    async with door.stranger().get("/health") as answer:
        assert "Strict-Transport-Security" not in answer.headers
    (door.data / "tls" / "cert.pem").write_text("broken")
    watch.look()
    assert await served(door) == first
    root_key, root = make(common_name="root", begin=-200, end=400)
    key, fresh = make(rsa.generate_private_key(65537, 2048), begin=-200, end=400, issuer=root.subject, signer=root_key)
    write(door.data / "tls", key, fresh)
    async with asyncio.timeout(5):
        while await served(door) != fresh:
            await asyncio.sleep(0.1)
    async with door.stranger().get("/health", ssl=False, headers={"Host": "house.example"}) as answer:
        assert answer.status == 200, "the new certificate's names are the gateway's"
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_old_protocols_and_ciphers_are_refused(door):
    def attempt(**wanted):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if "ciphers" in wanted:
            context.set_ciphers(wanted["ciphers"])
        with socket.create_connection(("127.0.0.1", door.port), 5) as plain, context.wrap_socket(plain) as wrapped:
            return wrapped.cipher()[0]

    assert "GCM" in await asyncio.to_thread(attempt, ciphers="ECDHE+AESGCM")
    assert "CHACHA20" in await asyncio.to_thread(attempt, ciphers="ECDHE+CHACHA20")
    for ciphers in ("AES128-SHA:@SECLEVEL=0", "ECDHE-ECDSA-AES128-SHA256"):
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(attempt, ciphers=ciphers)
    offered = {cipher["name"] for cipher in door.gateway._watch.context.get_ciphers()}
    assert all("GCM" in name or "CHACHA20" in name for name in offered)
    assert door.gateway._watch.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_plain_http_on_the_tls_port_is_closed(door):
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"HTTP")
    writer.close()


def test_without_files_nothing_is_served_and_none_are_made(tls):
    with pytest.raises(StartRefused) as refused:
        CertificateWatch(tls, passphrase=None, clock=ManualClock(NOW))
    assert refused.value.messages[0].startswith("❌ TLS certificate not found")
    assert not tls.exists()


def test_an_expired_certificate_is_complained_of_every_hour(tls, capfd):
    from tom.telemetry import logs

    write(tls, *make(begin=-20, end=-2))
    clock = ManualClock(NOW)
    watch = CertificateWatch(tls, passphrase=None, clock=clock)

    def complaints():
        logs.flush()
        return "".join(capfd.readouterr()).count("expired on 2026-05-30")

    assert complaints() == 1
    clock.advance(3599)
    watch.look()
    assert complaints() == 0
    clock.advance(2)
    watch.look()
    watch.look()
    assert complaints() == 1
    assert watch.state == "expired"
