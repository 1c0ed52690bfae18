"""Artefact to Release: gates, report, registry, promotion and the way back."""
