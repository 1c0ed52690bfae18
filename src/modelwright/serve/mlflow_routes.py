"""MLflow's scoring server, as its clients know it: `/invocations`, `/ping`, `/health`, `/version`.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally (inference server specification).
Bodies are dataframe_split, dataframe_records, instances, inputs, CSV or Parquet; the answer is that
of a pyfunc classifier or regressor: `{"predictions": [...]}`, labels or values.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from modelwright.core.errors import RowsError
from modelwright.core.intake import Feeds, feeds_from_columns, feeds_from_rows
from modelwright.core.schema import Schema
from modelwright.core.version import __version__
from modelwright.serve.bodies import media_type, read_table
from modelwright.serve.faults import not_json
from modelwright.serve.keys import key_of
from modelwright.serve.messages import Answered, ProtocolError, Question, Response

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PAGES = {
    "/ping": Response(200, b"\n", b"text/plain; charset=utf-8"),
    "/health": Response(200, b"\n", b"text/plain; charset=utf-8"),
    "/version": Response(200, __version__.encode(), b"text/plain; charset=utf-8"),
}
"""What the GET routes answer while a model is loaded; the version is Modelwright's. MLflow calls
its line break JSON, which it is not; its clients look at the status alone."""


def read_invocations(
    schema: Schema,
    content_type: str,
    body: bytes,
    max_rows: int,
    *,
    unknown: dict[str, int] | None = None,
    key: str | None = None,
) -> Question:
    """Read a body of `/invocations`.

    `params` may stand beside the data and changes nothing: a packed model takes none. The tokens
    NaN are taken for missing, since MLflow's clients write them; infinities are refused.

    Args:
        schema: of the version that answers.
        content_type: the header; empty means JSON.
        body, max_rows, unknown, key: see `serve.bodies.read_table`.

    Raises:
        ProtocolError: 400 another form, 413 too many rows, 415 another content type, 422 values.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> schema = Schema((Column("age", "number"),), Target("y", "regression"))
        >>> body = b'{"dataframe_split": {"columns": ["age"], "data": [[39], [NaN]]}}'
        >>> read_invocations(schema, "application/json", body, 10).feeds
        {'age': array([39., nan])}
    """
    kind, _ = media_type(content_type)
    if kind not in ("application/json", ""):
        return read_table(schema, content_type, body, max_rows, unknown=unknown, key=key)
    content = _json(body)
    form = _form(content)
    given = content[form]
    columns: dict[str, list[Any]] | None = None
    if form == "dataframe_split":
        columns = _split(given)
    elif form in ("instances", "inputs") and isinstance(given, dict):
        columns = {n: v if isinstance(v, list) else [v] for n, v in given.items()}
    if columns is not None:
        rows = max(map(len, columns.values()), default=0)
        feeds = _checked(feeds_from_columns, schema, columns, rows, max_rows, unknown)
        found = columns.get(key) if key is not None else None
        return Question(feeds, rows, "columns", key=key_of(schema, key, found and found[0]))
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ProtocolError(
            400, f"{form} must be a list of objects, a column's name on each value: this model "
            "does not take rows without names."
        )  # fmt: skip
    feeds = _checked(feeds_from_rows, schema, given, len(given), max_rows, unknown)
    return Question(feeds, len(given), key=key_of(schema, key, given[0].get(key)))


def write_invocations(answered: Answered) -> Response:
    """The answer of a pyfunc model."""
    return Response(200, msgspec.json.encode({"predictions": answered.answers.predictions()}))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if b"NaN" not in body:
            raise not_json(body, error) from error
        return _with_nan(body, error)


def _with_nan(body: bytes, error: Exception) -> Any:
    """As Python writes JSON; slower, and only for bodies that need it."""

    def constant(word: str) -> float | None:
        if word != "NaN":
            _refuse_infinity(word)
        return None

    try:
        found = json.loads(body.decode(), parse_constant=constant)
        if b"\\u" in body:  # half a letter, which json takes and nothing after it can write
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as second:
        why = second if isinstance(second, UnicodeError) else error
        raise not_json(body, why) from second


def _refuse_infinity(word: str) -> NoReturn:
    raise ProtocolError(400, f"The body has {word}: send null if the number is missing.")


def _form(content: Any) -> str:
    found = [name for name in FORMS if isinstance(content, dict) and name in content]
    if len(found) != 1:
        raise ProtocolError(
            400, f"Wanted an object with exactly one of {', '.join(FORMS)}; found "
            f"{', '.join(found) if found else 'none of them'}."
        )  # fmt: skip
    others = [str(name)[:60] for name in content if name not in (found[0], "params")]
    if others:
        raise ProtocolError(400, f"Beside {found[0]} only params may stand, found {others[0]!r}.")
    if not isinstance(content.get("params"), (dict, type(None))):
        raise ProtocolError(400, "params must be an object.")
    return found[0]


def _split(given: Any) -> dict[str, list[Any]]:
    """pandas' `to_dict(orient="split")`; its index is not needed."""
    names = given.get("columns") if isinstance(given, dict) else None
    data = given.get("data") if isinstance(given, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError(400, "dataframe_split must have 'columns', a list of names.")
    if len(set(names)) < len(names):
        raise ProtocolError(400, "dataframe_split names a column more than once.")
    if not isinstance(data, list):
        raise ProtocolError(400, "dataframe_split must have 'data', a list of rows.")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise ProtocolError(
                400, f"row {number} of dataframe_split is not a list of {len(names)} values."
            )
    if not data:
        return {}
    return dict(zip(names, map(list, zip(*data, strict=True)), strict=True))


def _checked(
    convert: Callable[..., Feeds],
    schema: Schema,
    given: Any,
    rows: int,
    max_rows: int,
    unknown: dict[str, int] | None,
) -> Feeds:
    if rows > max_rows:
        raise ProtocolError(413, f"{rows:,} rows in one request, at most {max_rows:,} are taken.")
    if rows == 0:
        raise ProtocolError(400, "The request has no rows.")
    try:
        return convert(schema, given, unknown=unknown)
    except RowsError as error:
        raise ProtocolError(422, error.message, error.problems) from error
