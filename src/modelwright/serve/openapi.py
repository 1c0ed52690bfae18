"""OpenAPI 3.1 of a server: every route, with the models' own columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modelwright.core.records import Manifest
from modelwright.core.version import __version__
from modelwright.serve.bodies import ARROW_FILE, ARROW_STREAM, CSV, PARQUET
from modelwright.serve.openapi_headers import (
    ANSWERED,
    HEADERS,
    IN_TIME,
    MARKS,
    PARAMETERS,
    PINNED,
    choosing,
    under_id,
)
from modelwright.serve.openapi_models import (
    Json,
    columns_schema,
    label_schema,
    prediction_schema,
    row_schema,
)
from modelwright.serve.openapi_routes import (
    ERRORS,
    LABEL_SCHEMAS,
    OIP_SCHEMAS,
    error_responses,
    json_answer,
    label_paths,
    oip_paths,
    place_of,
    plain_paths,
)
from modelwright.serve.protocol import example_in_json

JSON = "application/json"


@dataclass(frozen=True)
class Described:
    """A model as the document shows it; `versions`: those that can be asked for, champion first."""

    name: str
    versions: tuple[str, ...]
    manifest: Manifest


def openapi(model: str, version: str, manifest: Manifest) -> Json:
    """The document of a server with one model; see `document`."""
    return document([Described(model, (version,), manifest)])


def document(
    models: Sequence[Described],
    *,
    protected: bool = False,
    refuse_unknown: bool = True,
    refused: Collection[str] = (),
    max_rows: int = 100_000,
) -> Json:
    """Describe every route.

    Args:
        models: the default one first; each has `/models/NAME/predict`, the first `/predict` too.
        protected: whether a token is asked for.
        refuse_unknown: whether columns that a model never saw are refused.
        refused: see `openapi_models.row_schema`.
        max_rows: most rows in a request.

    Returns:
        The document as plain data.
    """
    paths: Json = {}
    policy: Json = {"refuse_unknown": refuse_unknown, "refused": refused}
    schemas: Json = {"Error": _error(), **OIP_SCHEMAS, **LABEL_SCHEMAS}
    for number, model in enumerate(models):
        # with one model the schemas have plain names
        prefix = "" if number == 0 else f"{model.name}."
        schemas |= {
            f"{prefix}Row": row_schema(model.manifest, **policy),
            f"{prefix}Columns": columns_schema(model.manifest, **policy),
            f"{prefix}Prediction": prediction_schema(model.manifest),
        }
        paths |= _prediction_paths(model, prefix, max_rows, is_first=number == 0)
    names = [model.name for model in models]
    versions = sorted({version for model in models for version in model.versions})
    paths |= label_paths(names, versions, max_rows) | oip_paths(names, versions) | plain_paths()
    first = models[0]
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": first.name if len(models) == 1 else "Modelwright",
            "version": first.versions[0] if len(models) == 1 else __version__,
            "description": _about(models),
        },
        "paths": under_id(paths),
        "components": {
            "schemas": schemas,
            "responses": error_responses(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }
    if protected:
        bearer = {"type": "http", "scheme": "bearer"}
        found["components"]["securitySchemes"] = {"token": bearer}
        found["security"] = [{"token": []}]
    return found


def _about(models: Sequence[Described]) -> str:
    lines = []
    for model in models:
        target = model.manifest.schema.target
        what = f"one of {', '.join(target.levels[:8])}" if target.levels else "a number"
        versions = ", ".join(model.versions)
        lines.append(f"{model.name} predicts {target.name!r}, {what}; versions: {versions}.")
    return " ".join(lines)


def _error() -> Json:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["error"],
        "properties": {"error": text, "problems": {"type": "array", "items": text}},
    }


def _prediction_paths(model: Described, prefix: str, max_rows: int, *, is_first: bool) -> Json:
    route, base = _predict(model, prefix, max_rows), f"/models/{model.name}"
    pinned = {
        **route,
        "operationId": f"predict_version_of_{model.name}",
        "parameters": [*_query(model), place_of("version", model.versions), *IN_TIME],
        "responses": {**route["responses"], "200": _answer(prefix, {}, PINNED)},
    }
    found: Json = {
        f"{base}/predict": {"post": {**route, "operationId": f"predict_{model.name}"}},
        f"{base}/versions/{{version}}/predict": {"post": pinned},
    }
    if is_first:
        found |= {
            "/predict": {"post": route},
            "/invocations": {"post": _invocations(model, max_rows)},
        }
    return found


def _predict(model: Described, prefix: str, max_rows: int) -> Json:
    row = {"$ref": f"#/components/schemas/{prefix}Row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    columns = {"$ref": f"#/components/schemas/{prefix}Columns"}
    body = {
        "anyOf": [
            {"type": "object", "properties": {"rows": rows}, "required": ["rows"],
             "additionalProperties": False},
            {"type": "object", "properties": {"columns": columns}, "required": ["columns"],
             "additionalProperties": False},
            rows,
            row,
        ]
    }  # fmt: skip
    example = example_in_json(model.manifest.schema, model.manifest.example)
    content: Json = {
        JSON: {
            "schema": body,
            "example": {"rows": [example]},
        },
        **_tables(dict(model.manifest.example)),
    }
    return {
        "operationId": "predict",
        "tags": [model.name],
        "summary": f"Predict rows with {model.name}",
        "parameters": [*_query(model), *choosing(model.versions)],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _answer(prefix, MARKS, ANSWERED), **{c: ERRORS[c] for c in POSTED}},
    }


POSTED = (
    "400", "401", "403", "404", "405", "408", "411", "413", "414", "415", "421", "422", "429",
    "431", "500", "503", "504",
)  # fmt: skip
"""What a route with a body can answer when it does not answer 200."""


def _query(model: Described) -> list[Json]:
    found: list[Json] = [
        {
            "name": "explain",
            "in": "query",
            "schema": {"type": "boolean", "default": False},
            "description": "Add what each column contributed to the answer (Shapley values).",
        }
    ]
    if model.manifest.schema.target.levels:
        found.append({
            "name": "top_k",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 999_999},
            "description": "Only so many labels, with their probabilities, the best first.",
        })  # fmt: skip
    return found


def _tables(example: Json) -> Json:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(example)
    writer.writerow(["" if value is None else value for value in example.values()])
    binary = {"type": "string", "format": "binary"}
    return {
        CSV: {"schema": {"type": "string"}, "example": out.getvalue()},
        **{kind: {"schema": binary} for kind in (ARROW_STREAM, ARROW_FILE, PARQUET)},
    }


def _answer(prefix: str, marks: Json, headers: Json) -> Json:
    answers = {"type": "array", "items": {"$ref": f"#/components/schemas/{prefix}Prediction"}}
    head: Json = {"model": {"type": "string"}, "version": {"type": "string"}}
    lists = {"type": "object", "additionalProperties": {"type": "array"}}
    found = json_answer(
        "An answer a row, in the form that Accept asks for",
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {**head, **marks, **form},
                    "required": [*head, *form],
                }
                for form in ({"predictions": answers}, {"columns": lists})
            ]
        },
    )
    found["headers"] = headers
    binary = {"schema": {"type": "string", "format": "binary"}}
    found["content"] |= {CSV: {"schema": {"type": "string"}}}
    found["content"] |= dict.fromkeys((ARROW_STREAM, ARROW_FILE, PARQUET), binary)
    return found


def _invocations(model: Described, max_rows: int) -> Json:
    """MLflow's route; it answers with the default model."""
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    columns = {"$ref": "#/components/schemas/Columns"}
    example = example_in_json(model.manifest.schema, model.manifest.example)
    names, values = list(example), list(example.values())
    split: Json = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
        },
    }
    forms = (
        ("dataframe_split", split),
        ("dataframe_records", rows),
        ("instances", {"anyOf": [rows, columns]}),
        ("inputs", {"anyOf": [rows, columns]}),
    )
    bodies = [
        {
            "type": "object",
            "properties": {name: form, "params": {"type": ["object", "null"]}},
            "required": [name],
            "additionalProperties": False,
        }
        for name, form in forms
    ]
    labels = {"predictions": {"type": "array", "items": label_schema(model.manifest)}}
    answer = json_answer(
        "Labels or values", {"type": "object", "properties": labels, "required": list(labels)}
    )
    return {
        "operationId": "invocations",
        "tags": ["MLflow"],
        "summary": "MLflow's scoring protocol; params change nothing",
        "parameters": choosing(model.versions),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {"anyOf": bodies},
                    "example": {"dataframe_split": {"columns": names, "data": [values]}},
                },
                **_tables(dict(model.manifest.example)),
            },
        },
        "responses": {
            "200": {**answer, "headers": ANSWERED},
            **{code: ERRORS[code] for code in POSTED},
        },
    }
