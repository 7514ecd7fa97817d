"""Tom: a self-hosted assistant with an isolated agent for each person."""

__version__ = "0.1.0"
