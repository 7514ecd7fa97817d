"""The record of what was done by whom, chained so that no row can be changed unnoticed. Read `chain.py`."""
