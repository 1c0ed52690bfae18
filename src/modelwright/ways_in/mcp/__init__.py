"""The door for AI agents: the Model Context Protocol, made of the table of operations."""
