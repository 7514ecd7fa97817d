"""What `tom doctor` looks at: one module per part of a house, each an async generator of findings."""
