"""Passwords as argon2id, hashed in worker threads so that the event loop goes on.

At most one thread per core hashes and at most 64 more wait; what comes then is refused at once. Every comparison costs
what the dearest stored hash costs, so that the time tells neither who exists nor whose hash is an old one.
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import hash_secret_raw

from tom.accounts.refusals import InvalidPassword, TooBusy

MAX_BYTES: Final = 1024
QUEUE: Final = 64

_SALT: Final = bytes(16)
_VERSION: Final = 19


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a password was right, and whether its hash should be made anew with today's parameters."""

    right: bool
    outdated: bool = False


def normalise(password: str) -> bytes:
    """The bytes that are hashed: NFC, UTF-8, never cut or trimmed. `InvalidPassword` when not 1 to 1024 of them."""
    try:
        encoded = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError as error:
        raise InvalidPassword from error
    if not 1 <= len(encoded) <= MAX_BYTES:
        raise InvalidPassword
    return encoded


def is_hash(text: str) -> bool:
    """Whether ``text`` is an argon2id hash as config.yml may give one."""
    try:
        return argon2.extract_parameters(text).type is argon2.Type.ID
    except InvalidHashError:
        return False


class Passwords:
    """Hashes and checks, bounded."""

    def __init__(self, *, threads: int | None = None, queue: int = QUEUE) -> None:
        """``threads``: how many hash at once (default: one per core); ``queue``: how many more may wait."""
        self._threads = threads or os.cpu_count() or 1
        self._room = self._threads + queue
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="passwords")
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
        self._own = argon2.Parameters(argon2.Type.ID, _VERSION, 16, 32, 2, 19456, 1)
        self._dearest = self._own

    def level(self, stored: Iterable[str | None]) -> None:
        """Let every comparison cost what the dearest of these hashes costs, and no less than a hash of our own."""
        known = (_parameters(hash_) for hash_ in stored if hash_)
        self._dearest = max((self._own, *(each for each in known if each)), key=_work)

    async def hash(self, password: str) -> str:
        """The hash to be stored. Raises `InvalidPassword`, `TooBusy`."""
        encoded = normalise(password)
        return await self._run(lambda: self._hasher.hash(encoded))

    async def check(self, password: str, stored: str | None) -> Match:
        """Compare; ``stored=None`` (no such user, no password) costs the same and is wrong. Raises `TooBusy`."""
        try:
            encoded = normalise(password)
        except InvalidPassword:
            encoded, stored = b"-", None
        dearest = self._dearest
        return await self._run(lambda: self._check(encoded, stored, dearest))

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _check(self, encoded: bytes, stored: str | None, dearest: argon2.Parameters) -> Match:
        match = self._compare(encoded, stored) if stored else Match(right=False)
        parameters = _parameters(stored) if stored else None
        _spend(dearest, _work(dearest) - (_work(parameters) if parameters else 0))
        return match

    def _compare(self, encoded: bytes, stored: str) -> Match:
        try:
            self._hasher.verify(stored, encoded)
        except (Argon2Error, InvalidHashError):
            return Match(right=False)
        return Match(right=True, outdated=self._hasher.check_needs_rehash(stored))

    async def _run[T](self, work: Callable[[], T]) -> T:
        if self._room <= 0:
            raise TooBusy
        self._room -= 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # The place is given back when the thread is done, not when its caller stops waiting.
        future.add_done_callback(self._give_back)
        return await asyncio.shield(future)

    def _give_back(self, _done: object) -> None:
        self._room += 1


def _parameters(stored: str) -> argon2.Parameters | None:
    try:
        return argon2.extract_parameters(stored)
    except InvalidHashError:
        return None


def _work(parameters: argon2.Parameters) -> int:
    """What a hash costs: KiB filled in all passes."""
    return parameters.memory_cost * parameters.time_cost


def _spend(like: argon2.Parameters, work: int) -> None:
    """Hash with less memory than ``like``, so that it costs ``work``."""
    memory = work // like.time_cost
    if memory >= 8 * like.parallelism:
        hash_secret_raw(b"-", _SALT, like.time_cost, memory, like.parallelism, 32, argon2.Type.ID)
