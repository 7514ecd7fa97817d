"""Starts, polls and stops agents. Read `spawner.py` (the seam) first."""
