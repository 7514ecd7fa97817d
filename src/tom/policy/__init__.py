"""What a call may do, decided without I/O. Read `verdict.py`."""
