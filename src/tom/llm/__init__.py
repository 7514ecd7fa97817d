"""Language models. Read `provider.py` (the seam) first."""
