"""A Docker engine, and images for it that no registry has to hold: this machine's own Python and Redis, packed up."""

import io
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 40
COMMAND_SECONDS = 300
LABEL = "tom-test"
_ALWAYS = [
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
]
_APPLETS = ["cat", "chmod", "chown", "cp", "env", "ls", "mkdir", "mv", "rm", "sh", "sleep", "test"]
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"}
_ZONES = Path("/usr/share/zoneinfo")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Docker:
    """A Docker engine that answers at ``host``."""

    def __init__(self, host: str) -> None:
        self.host = host

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}

    def run(self, *command: str, check: bool = True, stdin=None, **variables: str) -> str:
        """Run a command against this engine; its output."""
        done = subprocess.run(
            command, env=self.environment | variables, stdin=stdin or subprocess.DEVNULL, capture_output=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        output = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0 or not check, f"{' '.join(command)}\n{output[-4000:]}"
        return done.stdout.decode() if check else output

    def answers(self) -> bool:
        done = subprocess.run(
            ["docker", "version"], env=self.environment, capture_output=True, timeout=START_SECONDS, check=False
        )
        return done.returncode == 0

    def pack(self, name: str, archive: Path) -> str:
        """Make an image of a file tree."""
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin"]
        if _CERTIFICATES.exists():
            changes += [f"ENV {variable}={_CERTIFICATES}" for variable in ("SSL_CERT_FILE", "PIP_CERT")]
        options = [word for change in changes for word in ("--change", change)]
        self.run("docker", "import", *options, str(archive), name)
        return name


@pytest.fixture(scope="session")
def engine(tmp_path_factory) -> Iterator[Docker]:
    """The engine that runs here, else one of the tests' own, with its own files, ended by its number."""
    own = Docker(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if shutil.which("docker") and own.answers():
        yield own
        return
    program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0 or not shutil.which("docker"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Docker engine: run ./run_tests.sh as root")
    folder = tmp_path_factory.mktemp("docker")
    started = Docker(f"unix://{folder}/engine.sock")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
             "--host", started.host],
            stdout=log, stderr=log, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not started.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the engine did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def images(engine, tmp_path_factory) -> dict[str, str]:
    """The variables of the compose file that name images: stand-ins for those of a registry."""
    folder = tmp_path_factory.mktemp("images")
    return {
        "PYTHON_IMAGE": engine.pack(f"{LABEL}/python", _python(folder / "python.tar")),
        "REDIS_IMAGE": engine.pack(f"{LABEL}/redis", _redis(folder / "redis.tar")),
        "TOM_IMAGE": f"{LABEL}/tom",
    }


class _Tree:
    """A file tree being packed, beginning with a shell and the C library."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - closed by `done`
        self._there: set[str] = set()
        for name in ("tmp", "etc", "root", "data", "var", "proc", "sys", "dev"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            self._tar.addfile(folder)
        self.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.text("etc/group", "root:x:0:\n")
        self.file(Path(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
        for applet in _APPLETS:
            self.link(f"bin/{applet}", "busybox")
        self.link("usr/bin/env", "/bin/env")
        for library in _ALWAYS:
            found = [place / library for place in _library_places() if (place / library).exists()]
            if found:
                self.file(found[0], str(found[0]).lstrip("/"))
        if _ZONES.exists():
            self._tar.add(_ZONES, str(_ZONES).lstrip("/"))
        if _CERTIFICATES.exists():
            self.file(_CERTIFICATES, str(_CERTIFICATES).lstrip("/"))

    def file(self, source: Path, name: str) -> None:
        if name not in self._there:
            self._there.add(name)
            self._tar.add(source.resolve(), name, recursive=False)

    def link(self, name: str, target: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def text(self, name: str, text: str, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), mode
        self._tar.addfile(entry, io.BytesIO(text.encode()))

    def folder(self, source: Path, name: str) -> None:
        def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            part = Path(entry.name).name
            return None if part in _LEFT_OUT or part.startswith("config-") or part.endswith(".a") else entry

        self._tar.add(source, name, filter=kept)

    def libraries(self, programs: list[Path]) -> None:
        """What these are linked against, where they look for it."""
        told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, timeout=60, check=False)
        for line in told.stdout.splitlines():
            path = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), None)
            if path is not None and Path(path).exists():
                self.file(Path(path), path.lstrip("/"))

    def done(self) -> None:
        self._tar.close()


def _library_places() -> list[Path]:
    return [
        Path("/lib") / sysconfig.get_config_var("MULTIARCH"),
        Path("/usr/lib") / sysconfig.get_config_var("MULTIARCH"),
    ]


def _python(path: Path) -> Path:
    """This interpreter at /usr/local, with pip."""
    tree = _Tree(path)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    program = Path(sys.base_prefix) / "bin" / version
    tree.file(program, f"usr/local/bin/{version}")
    for name in ("python3", "python"):
        tree.link(f"usr/local/bin/{name}", version)
    tree.folder(library, f"usr/local/lib/{version}")
    tree.libraries([program, *(library / "lib-dynload").glob("*.so")])
    wheel = next((library / "ensurepip/_bundled").glob("pip-*.whl"))
    pip = f"/usr/local/lib/{version}/ensurepip/_bundled/{wheel.name}/pip"
    tree.text("usr/local/bin/pip", f'#!/bin/sh\nexec /usr/local/bin/python3 {pip} "$@"\n', 0o755)
    tree.done()
    return path


def _redis(path: Path) -> Path:
    """This machine's Redis."""
    tree = _Tree(path)
    programs = [Path(found) for name in ("redis-server", "redis-cli") if (found := shutil.which(name))]
    if not programs:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no redis-server: run ./run_tests.sh as root")
    for program in programs:
        tree.file(program, f"usr/local/bin/{program.name}")
    tree.libraries(programs)
    tree.done()
    return path
