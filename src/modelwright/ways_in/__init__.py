"""People and machines: one table of operations, and the doors derived from it."""
