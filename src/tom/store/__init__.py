"""Where conversations are kept. Read `eventstore.py` (the seam) first."""
