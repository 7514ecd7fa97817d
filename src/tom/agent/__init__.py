"""One person's cell: conversations, runs and services. Read `loop.py` first."""
