"""``tom up``: from an empty directory to a house that answers, and every bad start with its cure."""

import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import stat
from pathlib import Path

import pytest

from tom.cli.health import ask_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def up(start, data, free_port, until):
    """Start a house and wait for its last words before it serves."""

    async def begin(*more):
        house = start("up", "--data", str(data), "--port", str(free_port), *more)
        await until(house.said("nothing is lost"), seconds=20, what="the house has started")
        return house

    return begin


async def asked(data, port):
    """What the gateway says of its health over HTTPS."""
    return await asyncio.to_thread(ask_gateway, data, port)


async def test_an_empty_directory_becomes_a_house(up, data, free_port):
    house = await up("--user", "ada")
    text = house.text
    assert f"https://127.0.0.1:{free_port}/" in text
    assert re.search(r"user +ada\n", text)
    assert len(re.findall(r"password +([a-z2-9]{5}(?:-[a-z2-9]{5}){3})", text)) == 1
    assert "scripted" in text
    assert str(data) in text
    fingerprint = re.search(r"SHA-256 ([0-9A-F:]{95})", text)[1]
    der = ssl.PEM_cert_to_DER_cert((data / "tls" / "cert.pem").read_text())
    import hashlib

    assert hashlib.sha256(der).hexdigest() == fingerprint.replace(":", "").lower()
    for path, mode in ((data, 0o700), (data / "config.yml", 0o600), (data / "tls" / "key.pem", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert (await asked(data, free_port))["status"] == "ok"


@pytest.mark.promise("P13")
async def test_the_first_password_is_printed_once_and_stored_nowhere_in_clear(up, data, free_port, until):
    house = await up()
    password = re.search(r"password +(\S+)", house.text)[1]
    house.process.terminate()
    assert house.process.wait(30) == 0
    for path in data.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
    again = await up()
    assert "shown this once" not in again.text
    assert re.search(r"restored +1 person", again.text)


async def test_settings_written_beforehand_get_a_first_password_once(up, tom, data):
    assert tom("config", "init", "--data", str(data), "--user", "ada").returncode == 0
    house = await up()
    assert re.search(r"user +ada\n +password +\S+", house.text)
    house.process.terminate()
    assert house.process.wait(30) == 0
    assert "shown this once" not in (await up()).text


@pytest.mark.promise("P8")
async def test_sigterm_ends_it_with_status_0_and_leaves_nothing_running(up, data):
    house = await up()
    children = Path(f"/proc/{house.process.pid}/task/{house.process.pid}/children").read_text().split()
    assert children
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(30) == 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not list((data / "gateway").glob("agents/*"))


async def test_two_houses_do_not_share_a_directory(up, tom, data):
    house = await up()
    second = tom("up", "--data", str(data), "--port", "0")
    assert second.returncode == 1
    assert f"process {house.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr


async def test_a_port_in_use_is_named_with_its_holder(tom, data, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        result = tom("up", "--data", str(data), "--port", str(free_port))
    assert result.returncode == 1
    assert f"❌ Port {free_port} is already in use" in result.stderr
    assert f"pid {os.getpid()}" in result.stderr
    assert "--port" in result.stderr


async def test_every_error_of_the_settings_is_told_at_once_and_the_file_stays(tom, data):
    data.mkdir(mode=0o700)
    text = "global:\n  log_levle: INFO\nusers:\n  - username: UPPER\n"
    (data / "config.yml").write_text(text)
    result = tom("up", "--data", str(data), "--port", "0")
    assert result.returncode == 1
    assert "global.log_levle: unknown key, did you mean 'log_level'?" in result.stderr
    assert "users[0].username" in result.stderr
    assert "Traceback" not in result.stderr
    assert (data / "config.yml").read_text() == text


async def test_a_directory_that_cannot_be_made_is_named_with_its_owner(tom, tmp_path):
    (tmp_path / "file").write_text("")
    result = tom("up", "--data", str(tmp_path / "file" / "data"))
    assert result.returncode == 1
    assert "not writable" in result.stderr
    assert "--data" in result.stderr


async def test_a_database_of_a_newer_version_is_not_touched(up, tom, data):
    house = await up()
    house.process.terminate()
    assert house.process.wait(30) == 0
    from tom.sqlite.connection import connect_reader

    database = data / "gateway" / "gateway.db"
    import apsw

    connection = apsw.Connection(str(database))
    connection.execute("UPDATE schema_version SET version = version + 1000")
    connection.close()
    before = database.read_bytes()
    result = tom("up", "--data", str(data), "--port", "0")
    assert result.returncode == 1
    assert "newer" in result.stderr
    assert database.read_bytes() == before
    connect_reader(database).close()


async def test_half_a_certificate_is_refused_and_nothing_is_overwritten(up, tom, data):
    house = await up()
    house.process.terminate()
    assert house.process.wait(30) == 0
    key = data / "tls" / "key.pem"
    certificate = (data / "tls" / "cert.pem").read_bytes()
    key.unlink()
    result = tom("up", "--data", str(data), "--port", "0")
    assert result.returncode == 1
    assert f"❌ TLS private key not found: {key}" in result.stderr
    assert not key.exists()
    assert (data / "tls" / "cert.pem").read_bytes() == certificate


async def test_a_name_that_nobody_can_have_is_a_wrong_usage_and_makes_no_settings(tom, data):
    result = tom("up", "--data", str(data), "--user", "Not Allowed")
    assert result.returncode != 0
    assert "--user" in result.stderr
    assert not (data / "config.yml").exists()


async def test_a_gateway_makes_nothing(tom, data):
    assert tom("gateway", "--data", str(data)).returncode == 1
    assert not data.exists()
    data.mkdir(mode=0o700)
    result = tom("gateway", "--data", str(data))
    assert result.returncode == 1
    assert f"Configuration not found: {data / 'config.yml'}" in result.stderr
    assert not (data / "tls").exists()


async def test_a_gateway_serves_what_up_has_made(up, start, data, free_port, until):
    house = await up()
    house.process.terminate()
    assert house.process.wait(30) == 0
    gateway = start("gateway", "--data", str(data), "--port", str(free_port))
    await until(gateway.said("listens on"), what="the gateway has started")
    assert (await asked(data, free_port))["status"] == "ok"
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(30) == 0


async def test_health_finds_the_running_house_and_says_when_there_is_none(up, tom, data):
    house = await up()
    alive = tom("health", "--json", "--data", str(data))
    assert alive.returncode == 0, alive.stderr
    assert '"status": "ok"' in alive.stdout
    house.process.terminate()
    assert house.process.wait(30) == 0
    gone = tom("health", "gateway", "--data", str(data))
    assert gone.returncode == 1
    assert "does not answer" in gone.stderr
    assert tom("health", "nothing").returncode == 2


async def test_the_house_of_a_deep_directory_works(start, tmp_path, free_port, until):
    deep = tmp_path / ("d" * 70) / ("e" * 70)
    house = start("up", "--data", str(deep), "--port", str(free_port))
    await until(house.said("nothing is lost"), seconds=20, what="the house has started")
    assert (await asked(deep, free_port))["status"] == "ok"
    shutil.rmtree(deep, ignore_errors=True)
