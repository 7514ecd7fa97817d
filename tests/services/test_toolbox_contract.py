"""The contract of the toolbox, on the real one and on the one of Python functions."""

import pytest

from tom.config.agent import ServiceEntry
from tom.testing.hostile_services import hostile
from tom.testing.toolbox_contract import ToolboxContract, sample_toolbox


class TestMemoryToolbox(ToolboxContract):
    @pytest.fixture
    def toolbox(self):
        return sample_toolbox()


class TestServiceRegistry(ToolboxContract):
    @pytest.fixture
    async def toolbox(self, quick):
        absent = ServiceEntry(name="absent", command="no-such-program")
        async with quick(hostile("sample"), hostile("one_tool", "echo", name="other"), absent) as registry:
            yield registry
