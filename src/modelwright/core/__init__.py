"""Nouns all rooms share: records, schema, spec, limits, errors. Imports no ML library."""
