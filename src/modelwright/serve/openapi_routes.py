"""The part of the OpenAPI document that is the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelwright.serve.openapi_headers import (
    ANSWERED,
    ID_OF_ERROR,
    IN_TIME,
    MARKS,
    PINNED,
    choosing,
)

Json = dict[str, Any]

_MEANING = {
    "400": "Not a request of this protocol",
    "401": "No token, or a wrong one",
    "403": "The token may not do this, or another web page asks",
    "404": "No such route, model or version",
    "405": "Another method",
    "408": "The request took too long to come",
    "409": "The server keeps no journal",
    "411": "A body without its length",
    "413": "Too large, or too many rows",
    "414": "The address is too long",
    "415": "A content type, charset or encoding that is not taken",
    "421": "Another host's name",
    "422": "Values that do not fit the columns; each is named by row and column",
    "429": "Too many requests, or too many wait",
    "431": "Headers too large",
    "500": "A fault of the server; its log says more",
    "503": "Not ready, or on its way out",
    "504": "Not answered before the deadline",
}
ERRORS = {code: {"$ref": f"#/components/responses/{code}"} for code in _MEANING}
"""A reference to each error's description."""
_GOT = (
    "400", "401", "403", "404", "405", "408", "411", "413", "414", "421", "429", "431", "500",
    "503", "504",
)  # fmt: skip
_POSTED = (*_GOT, "415", "422")


def error_responses() -> Json:
    """What each error means, for `components.responses`."""
    headers = {
        "401": {"WWW-Authenticate": "Bearer"},
        "405": {"Allow": "The methods that the route takes"},
        "429": {"Retry-After": "Seconds"},
        "503": {"Retry-After": "Seconds"},
    }
    found = {}
    for code, text in _MEANING.items():
        one = json_answer(text, {"$ref": "#/components/schemas/Error"})
        one["headers"] = {
            name: {"schema": {"type": "string"}, "description": about}
            for name, about in headers.get(code, {}).items()
        } | {"x-request-id": ID_OF_ERROR}
        found[code] = one
    return found


def json_answer(text: str, schema: Json) -> Json:
    """A response with a JSON body."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _get(summary: str, tag: str, schema: Json | None = None, **more: Any) -> Json:
    answer = json_answer("OK", schema or {"type": "object"})
    errors = {code: ERRORS[code] for code in _GOT}
    return {"get": {"summary": summary, "tags": [tag], "responses": {"200": answer, **errors},
                    **more}}  # fmt: skip


def _text(summary: str, tag: str, kind: str, **more: Any) -> Json:
    found = _get(summary, tag, **more)
    found["get"]["responses"]["200"] = {
        "description": "OK", "content": {kind: {"schema": {"type": "string"}}},
    }  # fmt: skip
    return found


def plain_paths() -> Json:
    """Pages, probes and metrics."""
    about, health = "server", "health"
    probes: Json = {"security": []}
    return {
        "/ping": _text("Can it answer; as MLflow", health, "text/plain", **probes),
        "/health": _text("Can it answer; as MLflow", health, "text/plain", **probes),
        "/version": _text("Modelwright's version", about, "text/plain"),
        "/metrics": _text("Prometheus metrics", about, "text/plain"),
        "/openapi.json": _get("This document", about),
        "/docs": _text("This document, to read and try", about, "text/html"),
        "/docs.js": _text("The script of that page", about, "text/javascript"),
        "/docs.css": _text("The style of that page", about, "text/css"),
        "/": _get("What is served here", about),
    }


def _object(required: Sequence[str], **properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


_TENSOR = {
    "name": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "datatype": {"enum": [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
        "FP32", "FP64", "BYTES",
    ]},
    "parameters": {"type": "object"},
    "data": {"type": "array"},
}  # fmt: skip
OIP_SCHEMAS: Json = {
    "InferRequest": _object(
        ["inputs"],
        id={"type": "string"},
        parameters={"type": "object"},
        inputs={
            "type": "array",
            "minItems": 1,
            "items": _object(["name", "shape", "datatype"], **_TENSOR),
        },
        outputs={
            "type": "array",
            "items": _object(["name"], name={"type": "string"}, parameters={"type": "object"}),
        },
    ),
    "InferResponse": _object(
        ["model_name", "outputs"],
        model_name={"type": "string"},
        model_version={"type": "string"},
        id={"type": "string"},
        parameters={"type": "object", "properties": MARKS},
        outputs={"type": "array", "items": _object(["name", "shape", "datatype"], **_TENSOR)},
    ),
    "ModelMetadata": _object(
        ["name", "platform", "inputs", "outputs"],
        name={"type": "string"},
        versions={"type": "array", "items": {"type": "string"}},
        platform={"type": "string"},
        inputs={"type": "array", "items": {"type": "object"}},
        outputs={"type": "array", "items": {"type": "object"}},
    ),
}
"""Bodies of the Open Inference Protocol v2."""
_LABEL: Json = {
    **_object(
        ["request_id", "label"],
        request_id={"type": "string", "minLength": 1, "maxLength": 1024},
        row={"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1, "default": 0},
        label={"type": ["string", "number", "boolean"],
               "description": "The class, or the value, in the type of the training data."},
        time={"type": ["string", "null"], "format": "date-time",
              "description": "Of the label; UTC where no zone is said; default now."},
    ),
    "additionalProperties": False,
}  # fmt: skip
LABEL_SCHEMAS: Json = {"Label": _LABEL}
"""What was true of an answered row."""


def oip_paths(models: Sequence[str], versions: Sequence[str]) -> Json:
    """Routes of the Open Inference Protocol v2 and its model repository extension."""
    tag = "Open Inference Protocol"
    model = place_of("model", models)
    version = place_of("version", versions)
    metadata = {"$ref": "#/components/schemas/ModelMetadata"}
    probe: Json = {"security": []}
    found: Json = {
        "/v2": _get("Server metadata", tag),
        "/v2/health/live": _get("Is the process alive", tag, **probe),
        "/v2/health/ready": _get("Can it answer", tag, **probe),
    }
    for base, places in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        found[base] = _get("Inputs and outputs of a model", tag, metadata, parameters=places)
        found[f"{base}/ready"] = _get("Is the model ready", tag, parameters=places)
        chosen = len(places) == 1
        more = choosing(versions) if chosen else IN_TIME
        found[f"{base}/infer"] = _infer(tag, [*places, *more], ANSWERED if chosen else PINNED)
    found["/v2/repository/index"] = _post("Models and versions", tag, [], {"type": "array"})
    for action in ("load", "unload"):
        found[f"/v2/repository/models/{{model}}/{action}"] = _post(
            f"{action.capitalize()} a model; needs a token with the scope admin", tag, [model],
            {"type": "object"},
        )  # fmt: skip
    return found


def label_paths(models: Sequence[str], versions: Sequence[str], max_rows: int) -> Json:
    """Routes that take labels."""
    one: Json = {"$ref": "#/components/schemas/Label"}
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": max_rows}
    wrapped = {**_object(["labels"], labels=several), "additionalProperties": False}
    answer = _object(["model", "labels"], model={"type": "string"}, labels={"type": "integer"})
    text = {"schema": {"type": "string"}}
    found: Json = {}
    for base, places in (
        ("/v2/models/{model}", [place_of("model", models)]),
        ("/v2/models/{model}/versions/{version}",
         [place_of("model", models), place_of("version", versions)]),
    ):  # fmt: skip
        about = "Labels of answered rows; needs the scope labels"
        route = _post(about, "labels", [*places, *IN_TIME], answer)
        route["post"]["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [wrapped, several, one]}},
                "application/x-ndjson": text,
                "text/csv": text,
            },
        }
        route["post"]["responses"]["409"] = ERRORS["409"]
        found[f"{base}/labels"] = route
    return found


def place_of(name: str, known: Sequence[str]) -> Json:
    """A part of a path that is one of some names."""
    return {"name": name, "in": "path", "required": True,
            "schema": {"type": "string", "enum": list(known)}}  # fmt: skip


def _infer(tag: str, parameters: list[Json], headers: Json) -> Json:
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer = json_answer("Outputs", {"$ref": "#/components/schemas/InferResponse"})
    answer["content"]["application/octet-stream"] = binary
    answer["headers"] = headers
    return {
        "post": {
            "summary": "Inference; binary tensors stand behind the JSON",
            "tags": [tag],
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
                    "application/octet-stream": binary,
                },
            },
            "responses": {"200": answer, **{code: ERRORS[code] for code in _POSTED}},
        }
    }


def _post(summary: str, tag: str, parameters: list[Json], schema: Json) -> Json:
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    found: Json = {
        "summary": summary,
        "tags": [tag],
        "requestBody": body,
        "responses": {
            "200": json_answer("OK", schema), **{code: ERRORS[code] for code in _POSTED},
        },
    }  # fmt: skip
    if parameters:
        found["parameters"] = parameters
    return {"post": found}
