"""What a service offers to read is kept while it holds, and asked for again when it does not."""

import asyncio

import pytest

from tom.errors import ResourceNotFound, ServiceUnavailable
from tom.services.library import PromptEntry
from tom.services.offers import Answer
from tom.services.shelf import CONSIGN_BYTES, Shelf
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


class Service:
    """Stands where the connection stands, and counts what it is asked."""

    def __init__(self):
        self.asked = 0
        self.seconds = None
        self.failure = None
        self.text = "Be brief."
        self.waits = asyncio.Event()
        self.waits.set()

    async def describe(self, uri):
        return await self.said(self.text)

    async def list_prompts(self):
        return await self.said((PromptEntry("s", f"p{self.asked}", "p"),))

    async def said(self, value):
        self.asked += 1
        await self.waits.wait()
        if self.failure is not None:
            raise self.failure
        return Answer(value, self.seconds)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def shelf(service, clock):
    async def ask(question, limit):
        return await question(service)

    async def note(service, what, value):
        """Nothing lasts here."""

    return Shelf("s", ask, clock, 60, is_open=lambda: True, note=note)


async def described(shelf):
    return await shelf.description("response_consign", 5)


async def test_a_description_is_kept_for_300_seconds_when_the_service_does_not_say(shelf, service, clock):
    for _ in range(5):
        assert await described(shelf) == "Be brief."
    clock.advance(299)
    await described(shelf)
    assert service.asked == 1
    clock.advance(2)
    await described(shelf)
    assert service.asked == 2


@pytest.mark.parametrize(("seconds", "after", "asked"), [(10, 9, 1), (10, 11, 2), (0, 0, 2), (1000, 999, 1)])
async def test_a_description_is_kept_as_long_as_the_service_says(shelf, service, clock, seconds, after, asked):
    service.seconds = seconds
    await described(shelf)
    clock.advance(after)
    await described(shelf)
    assert service.asked == asked


async def test_a_change_is_read_at_once(shelf, service):
    await described(shelf)
    service.text = "Be verbose."
    shelf.forget("description://prompt_consign")
    assert await described(shelf) == "Be brief."
    shelf.forget("description://response_consign")
    assert await described(shelf) == "Be verbose."


async def test_what_changed_while_it_was_read_is_not_kept(shelf, service):
    service.waits.clear()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(described(shelf))
        await asyncio.sleep(0)
        shelf.forget("description://response_consign")
        service.waits.set()
    assert reading.result() == "Be brief."
    service.text = "Be verbose."
    assert await described(shelf) == "Be verbose."


async def test_that_there_is_none_is_kept_too(shelf, service, clock):
    service.failure = ResourceNotFound()
    for _ in range(3):
        assert await described(shelf) is None
    assert service.asked == 1


async def test_a_service_that_failed_is_asked_again_soon(shelf, service, clock):
    service.failure = ServiceUnavailable()
    for _ in range(3):
        assert await described(shelf) is None
    assert service.asked == 1
    service.failure = None
    clock.advance(31)
    assert await described(shelf) == "Be brief."


async def test_a_service_that_is_back_is_asked_again_at_once(shelf, service):
    service.failure = ServiceUnavailable()
    await described(shelf)
    service.failure = None
    shelf.forget_failures()
    assert await described(shelf) == "Be brief."


async def test_a_description_is_bounded(shelf, service):
    service.text = "é" * 100_000
    assert len((await described(shelf)).encode()) <= CONSIGN_BYTES
    assert len(await shelf.description("tom_notification", 5)) == 2000


async def test_many_that_ask_at_once_ask_once(shelf, service):
    lists = await asyncio.gather(*(shelf.prompts() for _ in range(10)))
    assert service.asked == 1
    assert all(listed == lists[0] for listed in lists)


async def test_a_list_is_asked_for_again_when_it_has_changed(shelf, service):
    first = await shelf.prompts()
    shelf.forget("prompts")
    assert await shelf.prompts() != first
