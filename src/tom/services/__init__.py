"""The MCP client side. Read `toolbox.py` (the seam) first."""
