"""What the chat door offers, as data and as an OpenAPI document. Read `operations.py`."""
