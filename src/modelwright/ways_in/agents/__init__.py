"""Setting AI coding agents up for a project: their configuration, rules and skills."""
