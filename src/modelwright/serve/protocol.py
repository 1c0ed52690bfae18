"""Bodies to rows and answers to bodies: `/predict`; the Open Inference Protocol is in `oip`.

Pure functions over bytes, without a socket; every fault of the caller is a ProtocolError, so that
a 500 means a fault of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelwright.core.errors import RowsError
from modelwright.core.intake import Feeds, feeds_from_columns, feeds_from_rows
from modelwright.core.schema import Column, Schema
from modelwright.serve.faults import not_json
from modelwright.serve.keys import key_of
from modelwright.serve.messages import ProtocolError, Question, Response

_MLFLOW = "is MLflow's form: send it to /invocations"
_FORMS = {
    "rows": "must be a list of objects, a row each, and stand alone",
    "columns": "must be an object of lists, one a column, and stand alone",
    "dataframe_split": _MLFLOW, "dataframe_records": _MLFLOW, "instances": _MLFLOW,
    "inputs": "is a form of /v2/models/NAME/infer and of /invocations: send it there",
}  # fmt: skip
"""What may be meant by an object that has none of the model's columns."""


def parse_json(body: bytes) -> Any:
    """Decode JSON.

    Raises:
        ProtocolError: 400 with the place of the fault.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from error


def read_predict(
    schema: Schema,
    body: bytes,
    max_rows: int,
    *,
    unknown: dict[str, int] | None = None,
    key: str | None = None,
) -> Question:
    """Read `[{...}]`, `{"rows": [{...}]}`, `{"columns": {...}}` or one bare row.

    Args:
        schema: of the version that answers.
        body: JSON.
        max_rows: most rows.
        unknown: see `core.intake.feeds_from_rows`.
        key: column whose first value becomes the question's key.

    Raises:
        ProtocolError: 400 for another form, 413 for too many rows, 422 for values.
    """
    content = parse_json(body)
    if isinstance(content, dict) and len(content) == 1 and isinstance(content.get("columns"), dict):
        columns = content["columns"]
        count = max((len(v) for v in columns.values() if isinstance(v, list)), default=0)
        _check_count(count, max_rows)
        feeds = _checked(feeds_from_columns, schema, columns, unknown)
        found = columns.get(key)
        return Question(feeds, count, "columns", key=key_of(schema, key, found and found[0]))
    rows = content
    if isinstance(content, dict):
        bare = not (len(content) == 1 and isinstance(content.get("rows"), list))
        if bare:
            _check_form(schema, content)
        rows = [content] if bare else content["rows"]
    if not isinstance(rows, list):
        raise ProtocolError(
            400, 'Wanted a list of rows, {"rows": [...]}, {"columns": {...}} or one row.'
        )
    _check_count(len(rows), max_rows)
    feeds = _checked(feeds_from_rows, schema, rows, unknown)
    return Question(feeds, len(rows), key=key_of(schema, key, rows[0].get(key)))


def error_body(message: str, problems: tuple[str, ...] = ()) -> bytes:
    """The one form of every error."""
    body: dict[str, Any] = {"error": message}
    if problems:
        body["problems"] = list(problems)
    return msgspec.json.encode(body)


def error_response(error: ProtocolError) -> Response:
    """An error as an answer, with what its status wants beside it."""
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    if error.allow:
        headers.append((b"allow", error.allow.encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = error_body(error.message, error.problems)
    return Response(error.status, body, headers=tuple(headers))


def _checked(convert: Any, schema: Schema, given: Any, unknown: dict[str, int] | None) -> Feeds:
    try:
        feeds: Feeds = convert(schema, given, unknown=unknown)
        return feeds
    except RowsError as error:
        raise ProtocolError(422, error.message, error.problems) from error


def _check_count(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise ProtocolError(413, f"{count:,} rows in one request, at most {max_rows:,} are taken.")
    if count == 0:
        raise ProtocolError(400, "The request has no rows.")


def _check_form(schema: Schema, content: Mapping[str, Any]) -> None:
    """Tell a body of another form, or of another protocol, from a row with wrong columns.

    Raises:
        ProtocolError: 400 with what to do.
    """
    if any(column.name in content for column in schema.columns):
        return
    found = next((name for name in _FORMS if name in content), None)
    if found is not None:
        raise ProtocolError(400, f"{found!r} {_FORMS[found]}.")


def example_in_json(schema: Schema, example: Mapping[str, Any]) -> dict[str, Any]:
    """An example row as `column_type` describes it: lists are lists there, not text of a cell.

    Example:
        >>> from modelwright.core.schema import Target
        >>> schema = Schema((Column("tags", "list", format=";"),), Target("y", "regression"))
        >>> example_in_json(schema, {"tags": "a;b"}), example_in_json(schema, {"tags": ""})
        ({'tags': ['a', 'b']}, {'tags': []})
    """
    lists = {c.name: c.format or "|" for c in schema.features if c.kind == "list"}
    return {
        name: [item for item in value.split(lists[name]) if item]
        if name in lists and isinstance(value, str)
        else value
        for name, value in example.items()
    }


def column_type(column: Column) -> dict[str, Any]:
    """JSON Schema of one column's values."""
    types: dict[str, dict[str, Any]] = {
        "number": {"type": "number"},
        "category": {"type": "string"},
        "list": {"type": ["array", "string"], "items": {"type": "string"}},
        "boolean": {"type": "boolean"},
        "datetime": {"type": "string", "format": "date-time"},
    }
    base = types[column.kind]
    described = {**base}
    if column.kind == "number" and column.minimum is not None and not column.private:
        described["description"] = f"In training: {column.minimum:g} to {column.maximum:g}."
    if column.kind == "category" and not column.private:
        described["examples"] = list(column.levels[:20])
    wanted = column.expect
    if wanted is not None and column.kind == "number":
        bounds = {"minimum": wanted.minimum, "maximum": wanted.maximum}
        described |= {name: bound for name, bound in bounds.items() if bound is not None}
    if wanted is not None and wanted.levels and column.kind == "category":
        described["enum"] = list(wanted.levels)
    if wanted is not None and wanted.regex and column.kind == "category":
        described["pattern"] = f"^(?:{wanted.regex})$"
    if wanted is None or not wanted.required:  # null is missing, wherever a value is not a must
        types_of = base["type"] if isinstance(base["type"], list) else [base["type"]]
        described["type"] = [*types_of, "null"]
        if "enum" in described:
            described["enum"].append(None)
    return described
