"""Every SQLite file of Tom. Read `database.py` first."""

from tom.sqlite.database import Database

__all__ = ["Database"]
