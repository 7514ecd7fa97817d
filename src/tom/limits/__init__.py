"""How often somebody may ask. Read `limiter.py`."""
