"""Fit to Artefact: one exact ONNX graph from raw columns to answers, proved and measured."""
