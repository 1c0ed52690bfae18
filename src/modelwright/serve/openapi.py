"""OpenAPI 3.1 of a server, with the model's own columns."""

from __future__ import annotations

from typing import Any

from modelwright.core.records import Manifest
from modelwright.serve.protocol import column_type, example_request


def openapi(model: str, version: str, manifest: Manifest) -> dict[str, Any]:
    """Describe every route.

    Args:
        model: the name it is served under.
        version: its version.
        manifest: of the artefact.

    Returns:
        The document as plain data.
    """
    row = _row(manifest)
    answer = _prediction(manifest)
    return {
        "openapi": "3.1.0",
        "info": {"title": model, "version": version},
        "paths": {
            "/predict": {"post": _predict_route(manifest)},
            f"/v2/models/{model}/infer": {"post": _infer_route()},
            f"/v2/models/{model}": {"get": _plain("Model metadata")},
            "/v2": {"get": _plain("Server metadata")},
            "/v2/health/live": {"get": _plain("Is the process alive")},
            "/v2/health/ready": {"get": _plain("Can it answer")},
            "/metrics": {"get": _plain("Prometheus metrics", "text/plain")},
        },
        "components": {
            "schemas": {
                "Row": row,
                "Prediction": answer,
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {"type": "string"},
                        "problems": {"type": "array", "items": {"type": "string"}},
                    },
                },
            }
        },
    }


def _row(manifest: Manifest) -> dict[str, Any]:
    features = manifest.schema.features
    return {
        "type": "object",
        "properties": {column.name: column_type(column) for column in features},
        "required": [column.name for column in features if not column.nullable],
    }


def _prediction(manifest: Manifest) -> dict[str, Any]:
    target = manifest.schema.target
    kinds = {"string": "string", "integer": "integer", "boolean": "boolean", "number": "number"}
    kind: dict[str, Any] = {"type": kinds[target.label_type]}
    if target.levels:
        kind["enum"] = [target.label(level) for level in target.levels]
    shares = {f"p_{level}": {"type": "number"} for level in target.levels}
    ends = ("low", "high") if target.interval else ()
    properties = {"prediction": kind, **shares, **{end: {"type": "number"} for end in ends}}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _predict_route(manifest: Manifest) -> dict[str, Any]:
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    body = {
        "oneOf": [
            {"type": "object", "properties": {"rows": rows}, "required": ["rows"]},
            {
                "type": "object",
                "properties": {"columns": {"type": "object"}},
                "required": ["columns"],
            },
            rows,
            {"$ref": "#/components/schemas/Row"},
        ]
    }
    answers = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
    return {
        "summary": "Predict rows",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body, "example": example_request(manifest.example)}
            },
        },
        "responses": {
            "200": _json("Predictions", {"type": "object", "properties": {"predictions": answers}}),
            **_errors(),
        },
    }


def _infer_route() -> dict[str, Any]:
    return {
        "summary": "Open Inference Protocol v2",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object", "required": ["inputs"]}}},
        },
        "responses": {"200": _json("Outputs", {"type": "object"}), **_errors()},
    }


def _errors() -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/Error"}
    meaning = {
        "400": "Not a request of this protocol",
        "401": "No or a wrong token",
        "413": "Too large",
        "422": "Values that do not fit the columns",
    }
    return {code: _json(text, error) for code, text in meaning.items()}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _plain(summary: str, kind: str = "application/json") -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string" if kind == "text/plain" else "object"}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}}}
