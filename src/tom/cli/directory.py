"""Where Tom's files are: found, made private, checked, and held by one running gateway at a time."""

import fcntl
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import tom
from tom.cli.output import Refused, Status

LOCK: Final = "tom.lock"
NETWORK_FILE_SYSTEMS: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "9p", "lustre")
)


def locate(given: str | None = None, env: Mapping[str, str] = os.environ) -> Path:
    """The data directory: as given, ``TOM_DATA``, ``/data`` in a container, ``data`` of a checkout, the user's own."""
    if given:
        return Path(given).expanduser().absolute()
    if env.get("TOM_DATA", "").strip():
        return Path(env["TOM_DATA"]).expanduser().absolute()
    container = Path("/data")
    if (container / "config.yml").exists():
        return container
    checkout = Path(tom.__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "src" / "tom").is_dir():
        return checkout / "data"
    own = env.get("XDG_DATA_HOME", "").strip()
    return (Path(own) if own else Path.home() / ".local" / "share") / "tom"


def existing(path: Path, *, status: Status = Status.UNUSABLE) -> Path:
    """``path``, which must be a data directory already."""
    if not path.is_dir():
        hint = "make it with: tom up, or name another with --data"
        raise Refused(f"There is no data directory at {path}", status=status, hint=hint, code="no_data_directory")
    return path


def make_private(path: Path) -> bool:
    """Make the data directory, mode 0700, if it is missing; True when it was. Raises `Refused`."""
    try:
        if path.is_dir():
            check_usable(path)
            return False
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _not_writable(path, error) from error
    check_usable(path)
    return True


def check_usable(path: Path) -> None:
    """Refuse a directory that cannot be written, or lies where SQLite's locks do not hold."""
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _not_writable(path, None)
    kind = file_system(path)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Refused(
            f"{path} is on a network file system ({kind}), where SQLite files can be damaged",
            hint="choose a directory on a local disk with --data",
            code="network_file_system",
        )


def file_system(path: Path) -> str:
    """The kind of file system ``path`` lies on; empty where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    real = str(path.resolve())
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), right.split()[0]
    return kind


class HouseLock:
    """The right to be the gateway of a data directory; given back when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Nothing is taken before the ``with`` block."""
        self._path = directory / LOCK
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Refused(
                f"{self._path.parent} is in use by another tom, process {holder}",
                hint=f"stop it with: kill {holder}, or name another directory with --data",
                code="in_use",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def holder(directory: Path) -> int | None:
    """The pid of the gateway that runs on this directory, None when none does."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _not_writable(path: Path, error: OSError | None) -> Refused:
    uid = os.getuid()
    around = next(parent for parent in (path, *path.parents) if parent.exists())
    owner = around.stat().st_uid
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    reason = f": {error.strerror}" if error is not None and error.strerror else ""
    return Refused(
        f"{path} is not writable by uid {uid}{reason} ({around} belongs to {name})",
        hint=f"run: chown -R {uid}:{os.getgid()} {around}, or name another directory with --data",
        code="not_writable",
    )
