"""The kernel: what a conversation is. No I/O, no third party. Read `event.py` first, then `run.py`."""
