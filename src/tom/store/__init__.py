"""Where conversations are kept. Read `eventstore.py` (the seam) first."""

from tom.store.opening import open_store

__all__ = ["open_store"]
