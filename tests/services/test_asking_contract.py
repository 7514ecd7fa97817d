"""Questions, progress, prompts and resources: the contract on both revisions of MCP and on Python functions."""

import pytest

from tom.config.agent import ServiceEntry
from tom.testing.asking_contract import AskingContract, LibraryContract, asking_toolbox
from tom.testing.asking_service import asking

pytestmark = [pytest.mark.promise("P9"), pytest.mark.slow]

ABSENT = ServiceEntry(name="absent", command="no-such-program")


class InMemory:
    @pytest.fixture(params=["handed back", "open connection"])
    def toolbox(self, request):
        return asking_toolbox(modern=request.param == "handed back")


class OverMcp:
    @pytest.fixture(params=["2025-11-25", "2026-07-28"])
    async def toolbox(self, request, quick):
        async with quick(asking(request.param), asking(request.param, name="twin"), ABSENT) as registry:
            yield registry


class TestAskingInMemory(InMemory, AskingContract): ...


class TestLibraryInMemory(InMemory, LibraryContract): ...


class TestAskingOverMcp(OverMcp, AskingContract): ...


class TestLibraryOverMcp(OverMcp, LibraryContract): ...
