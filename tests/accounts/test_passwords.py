"""Passwords: hashed with argon2id, the same work for everybody, never more than there is room for."""

import asyncio
import statistics
import threading
import time

import argon2
import pytest

from tom.accounts.passwords import Passwords, is_hash, normalise
from tom.accounts.refusals import InvalidPassword, TooBusy

pytestmark = pytest.mark.anyio


@pytest.fixture
def passwords():
    made = Passwords(threads=2, queue=4)
    yield made
    made.close()


async def test_a_hash_has_the_promised_parameters(passwords):
    parameters = argon2.extract_parameters(await passwords.hash("a password"))
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        argon2.Type.ID, 19456, 2, 1,
    )  # fmt: skip


async def test_right_wrong_and_nobody(passwords):
    stored = await passwords.hash("a password")
    assert (await passwords.check("a password", stored)).right
    for wrong in ("a password ", " a password", "A password", "", "a passwor", "a password\x00"):
        assert not (await passwords.check(wrong, stored)).right
    assert not (await passwords.check("a password", None)).right
    assert not (await passwords.check("a password", "no hash")).right


async def test_a_hash_with_weaker_parameters_is_to_be_made_anew(passwords):
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("x")
    match = await passwords.check("x", weak)
    assert (match.right, match.outdated) == (True, True)
    assert not (await passwords.check("x", await passwords.hash("x"))).outdated


def test_passwords_are_nfc_and_neither_cut_nor_trimmed():
    assert normalise("pa\u0308ss") == normalise("p\u00e4ss")
    assert normalise(" x ") == b" x "
    assert len(normalise("x" * 1024)) == 1024
    for bad in ("", "x" * 1025, "ä" * 513, "\ud800"):
        with pytest.raises(InvalidPassword):
            normalise(bad)


async def test_long_passwords_differ_in_their_last_byte(passwords):
    stored = await passwords.hash("x" * 1023 + "a")
    assert not (await passwords.check("x" * 1023 + "b", stored)).right
    assert (await passwords.check("x" * 1023 + "a", stored)).right


async def test_what_does_not_fit_into_the_queue_is_refused_and_the_loop_goes_on(passwords):
    results = await asyncio.gather(*(passwords.check("x", None) for _ in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, TooBusy)]
    assert len(refused) == 20 - 6
    assert not (await passwords.check("x", None)).right


async def test_a_caller_that_gives_up_gives_its_place_back_when_the_work_is_done(passwords, until):
    for _ in range(10):
        task = asyncio.ensure_future(passwords.check("x", None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def has_room():
        try:
            await passwords.check("x", None)
        except TooBusy:
            return False
        return True

    await until(has_room)


async def test_the_event_loop_is_free_while_passwords_are_hashed(passwords):
    threads = set()
    hashing = [asyncio.ensure_future(passwords.hash("x")) for _ in range(6)]
    beats = 0
    while not all(task.done() for task in hashing):
        threads |= {thread.name for thread in threading.enumerate() if thread.name.startswith("passwords")}
        beats += 1
        await asyncio.sleep(0)
    assert beats > 10
    assert len(threads) <= 2


async def test_nobody_costs_the_same_work_as_somebody(passwords):
    stored = await passwords.hash("a password")

    async def cost(hash_):
        began = time.thread_time_ns(), time.perf_counter()
        await passwords.check("wrong", hash_)
        return time.perf_counter() - began[1]

    known, unknown = [], []
    for _ in range(15):
        known.append(await cost(stored))
        unknown.append(await cost(None))
    assert 0.5 < statistics.median(known) / statistics.median(unknown) < 2


@pytest.mark.parametrize("dear", [(3, 40_000), (2, 19_456)])
async def test_nobody_and_a_cheap_hash_cost_what_the_dearest_hash_costs(passwords, dear):
    dearest = argon2.PasswordHasher(time_cost=dear[0], memory_cost=dear[1], parallelism=1).hash("a password")
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("a password")
    passwords.level([cheap, None, dearest, "no hash"])

    async def cost(hash_):
        began = time.process_time()
        await passwords.check("wrong", hash_)
        return time.process_time() - began

    medians = {hash_: statistics.median([await cost(hash_) for _ in range(7)]) for hash_ in (dearest, cheap, None)}
    assert all(0.6 < medians[dearest] / medians[hash_] < 1.6 for hash_ in (cheap, None))


def test_hashes_of_the_configuration_are_recognised():
    assert is_hash(argon2.PasswordHasher(time_cost=1, memory_cost=64).hash("x"))
    for other in ("", "x", "$argon2i$v=19$m=8,t=1,p=1$YWJjZGVmZ2g$abc", "$2b$12$abcdefghijklmnopqrstuv"):
        assert not is_hash(other)
