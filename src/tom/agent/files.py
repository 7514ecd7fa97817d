"""The files of a person's conversations: attachments, pictures that tools returned.

A file is named by the SHA-256 of its content, its directory by a hash of its conversation: no name from outside is
ever part of a path. A file is on the disk, with fsync, before `write` returns, so the event that names it can follow.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tom.conversation.part import Image
from tom.errors import StorageFull, StorageUnavailable

MOST_BYTES = 2 * 1024**3
"""All files of one person together."""

_NAME = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Files:
    """The files of one person, below ``<home>/files``."""

    def __init__(self, home: Path, *, most: int = MOST_BYTES) -> None:
        """Keep at most ``most`` bytes below ``home``; nothing is made before the first file."""
        self._root = home / "files"
        self._most = most
        self._used: int | None = None
        self._turn = asyncio.Lock()

    async def write(self, conversation_id: str, data: bytes) -> str:
        """Keep ``data`` for a conversation and return its name; the same content is kept once.

        Raises `StorageFull` beyond the bound or on a full disk, `StorageUnavailable` when the disk does not work.
        """
        async with self._turn:
            return await asyncio.to_thread(self._write, self._directory(conversation_id), data)

    async def read(self, conversation_id: str, name: str) -> bytes | None:
        """The content of a file; None when it is not kept (any more). Raises `StorageUnavailable`."""
        if not _NAME.fullmatch(name):
            return None
        return await asyncio.to_thread(_read, self._directory(conversation_id) / name)

    def has_any(self, conversation_id: str) -> bool:
        """Whether anything was kept for a conversation."""
        return self._directory(conversation_id).exists()

    async def erase(self, conversation_id: str) -> None:
        """Remove all files of a conversation; one without any is fine. Raises `StorageUnavailable`."""
        async with self._turn:
            await asyncio.to_thread(self._retain, self._directory(conversation_id), frozenset[str]())

    async def retain(self, conversation_id: str, names: Collection[str]) -> None:
        """Remove the files of a conversation that are not among ``names``. Raises `StorageUnavailable`."""
        async with self._turn:
            await asyncio.to_thread(self._retain, self._directory(conversation_id), frozenset(names))

    async def keep(self, conversation_id: str, images: Iterable[Image]) -> tuple[Mapping[str, Any], ...]:
        """Keep pictures and describe them as an event's ``attachments``. Raises what `write` raises."""
        return tuple(
            [
                {
                    "type": "image",
                    "media_type": image.media_type,
                    "file": await self.write(conversation_id, image.data),
                    "size": len(image.data),
                }
                for image in images
            ]
        )

    # --- in a thread -------------------------------------------------------------------------------------------

    def _directory(self, conversation_id: str) -> Path:
        return self._root / hashlib.sha256(conversation_id.encode()).hexdigest()[:32]

    def _write(self, directory: Path, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = directory / name
        try:
            if path.exists():
                return name
            if self._measured() + len(data) > self._most:
                message = f"The message was not stored: files take more than {self._most} bytes"
                raise StorageFull(message, limit=self._most)
            self._make(directory)
            _put(directory, name, data)
        except OSError as error:
            raise _failure(error) from error
        self._used = self._measured() + len(data)
        return name

    def _make(self, directory: Path) -> None:
        for fresh in (self._root, directory):
            if not fresh.exists():
                fresh.mkdir(mode=0o700, parents=True)
                _sync(fresh.parent)

    def _measured(self) -> int:
        if self._used is None:
            sizes = [entry.stat().st_size for entry in self._root.glob("*/*")] if self._root.exists() else []
            self._used = sum(sizes)
        return self._used

    def _retain(self, directory: Path, names: Collection[str]) -> None:
        if not directory.exists():
            return
        try:
            if names:
                for entry in directory.iterdir():
                    if entry.name not in names:
                        entry.unlink(missing_ok=True)
                _sync(directory)
            else:
                shutil.rmtree(directory)
                _sync(self._root)
        except OSError as error:
            raise _failure(error) from error
        finally:
            self._used = None  # counted anew when it is next needed


def _put(directory: Path, name: str, data: bytes) -> None:
    """Write under another name first: a file that has its name is whole."""
    unfinished = directory / f"{name}.part"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(directory / name)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    _sync(directory)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = "The file cannot be read"
        raise StorageUnavailable(message) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(error: OSError) -> StorageFull | StorageUnavailable:
    return StorageFull() if error.errno in _FULL else StorageUnavailable()
