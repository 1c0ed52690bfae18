"""Spec to Dataset: read, infer, validate, fingerprint, split; the test split is sealed."""
