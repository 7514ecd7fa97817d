"""A simulated language model endpoint: a real HTTP server that answers by script. See README.md in this package."""

from tom.testing.simulated_llm.endpoint import SimulatedLLM
from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.request import ReceivedRequest
from tom.testing.simulated_llm.script import Call, Script

__all__ = ["Call", "Fault", "ReceivedRequest", "Script", "SimulatedLLM"]
