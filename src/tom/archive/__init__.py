"""A mirror of conversations in another database; never the truth. Read `archive.py`."""
