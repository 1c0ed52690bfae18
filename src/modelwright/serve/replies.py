"""Answers in the form that was asked for: JSON, CSV, Arrow or Parquet; top labels; explanations."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import numpy as np

from modelwright.core.errors import did_you_mean
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers
from modelwright.serve.bodies import ARROW_FILE, ARROW_STREAM, CSV, PARQUET, media_type
from modelwright.serve.explain import Explained, check_work
from modelwright.serve.messages import Answered, ProtocolError, Response

JSON = "application/json"
FORMS = (JSON, CSV, ARROW_STREAM, ARROW_FILE, PARQUET)
PARAMETERS = ("top_k", "explain")
_TRUE, _FALSE = ("true", "1", ""), ("false", "0")


@dataclass(frozen=True)
class Options:
    """How an answer is wanted.

    Attributes:
        top_k: how many of the best labels; None for the probability of each.
        explain: with the contribution of each column.
        form: one of `FORMS`.
    """

    top_k: int | None = None
    explain: bool = False
    form: str = JSON

    @property
    def is_plain(self) -> bool:
        """Whether the answer is the usual JSON, which has a faster writer."""
        return self.top_k is None and not self.explain and self.form == JSON


PLAIN = Options()


def options_of(query: str, accept: str = "") -> Options:
    """Read the query and the Accept header of `/predict`.

    Raises:
        ProtocolError: 400 for a parameter that is not known, or a value that does not fit.

    Example:
        >>> options_of("top_k=3&explain=true", "text/csv")
        Options(top_k=3, explain=True, form='text/csv')
    """
    if not query and (not accept or accept in ("*/*", JSON)):
        return PLAIN
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=16, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise ProtocolError(400, "The query cannot be read.") from error
    found: dict[str, Any] = {}
    for name, text in given:
        if name not in PARAMETERS:
            hint = did_you_mean(name[:80], PARAMETERS)
            known = f"known: {', '.join(PARAMETERS)}."
            raise ProtocolError(400, f"Unknown query parameter {name[:80]!r}: {hint or known}")
        if name in found:
            raise ProtocolError(400, f"The query parameter {name!r} is given twice.")
        found[name] = _top(text) if name == "top_k" else _flag(name, text)
    return Options(form=form_of(accept), **found)


def _top(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0):
        raise ProtocolError(
            400, f"top_k must be a whole number from 1 to 999,999, found {text[:40]!r}."
        )
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ProtocolError(400, f"{name} must be true or false, found {text[:40]!r}.")
    return text.lower() in _TRUE


def form_of(accept: str) -> str:
    """The best of `FORMS` for an Accept header; JSON where it names none of them.

    Example:
        >>> form_of("text/html, text/csv;q=0.9, application/json;q=0.5")
        'text/csv'
    """
    best, weight = JSON, 0.0
    for one in accept.split(",")[:32]:
        kind, parameters = media_type(one)
        try:
            wanted = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if kind in FORMS and wanted > weight:
            best, weight = kind, wanted
    return best


def check_options(schema: Schema, options: Options, rows: int) -> None:
    """What only the schema can tell; called by the reader, before anything is answered.

    Raises:
        ProtocolError: 400 for top_k of a number, 413 for more rows than can be explained.
    """
    if options.top_k is not None and not schema.target.levels:
        raise ProtocolError(400, "top_k is for models of classes; this one predicts a number.")
    if options.explain:
        check_work(schema, rows)


def write_answer(
    answered: Answered,
    options: Options,
    explained: Explained | None = None,
    marks: Mapping[str, Any] | None = None,
) -> Response:
    """An answer to `/predict` in any form.

    Args:
        answered: rows and answers.
        options: from `options_of`.
        explained: from `serve.explain.explain`, where it is wanted.
        marks: what else is said of the answer, such as who stood in; JSON has it beside `model`,
            Arrow and Parquet in their metadata.

    Raises:
        ProtocolError: 415 where the form needs pyarrow, which is not installed.
    """
    about = {"model": answered.live.model, "version": answered.live.version, **(marks or {})}
    if options.form != JSON:
        return write_table(options.form, flat_columns(answered.answers, options, explained), about)
    columns = _top_columns(answered.answers, options.top_k)
    if explained is not None:
        columns["explanation"] = _explanations(explained)
    if answered.question.shape == "columns":
        return Response(200, msgspec.json.encode({**about, "columns": columns}))
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return Response(200, msgspec.json.encode({**about, "predictions": rows}))


def _top_columns(answers: Answers, top_k: int | None) -> dict[str, list[Any]]:
    if top_k is None or answers.probabilities is None:
        return answers.columns()
    labels, shares = best(answers, top_k)
    return {
        "prediction": answers.predictions(),
        "top": [
            [{"label": label, "probability": share} for label, share in zip(*row, strict=True)]
            for row in zip(labels, shares, strict=True)
        ],
    }


def best(answers: Answers, top_k: int) -> tuple[list[list[Any]], list[list[float]]]:
    """The k best labels of each row and their probabilities, the best first; ties in the order of
    the target's levels."""
    assert answers.probabilities is not None
    target = answers.schema.target
    labels = [target.label(level) for level in target.levels]
    order = np.argsort(-answers.probabilities, axis=1, kind="stable")[:, :top_k]
    shares = np.take_along_axis(answers.probabilities, order, axis=1)
    return [[labels[code] for code in row] for row in order.tolist()], shares.tolist()


def _explanations(explained: Explained) -> list[dict[str, Any]]:
    names = explained.names
    return [
        {
            "base": base,
            "contributions": dict(zip(names, given, strict=True)),
            "standard_errors": dict(zip(names, errors, strict=True)),
        }
        for base, given, errors in zip(
            explained.base.tolist(),
            explained.contributions.tolist(),
            explained.errors.tolist(),
            strict=True,
        )
    ]


def flat_columns(
    answers: Answers, options: Options, explained: Explained | None = None
) -> dict[str, Any]:
    """Columns of a table: `prediction`, `p_<label>` or `label_1`, `probability_1`, ...; then
    `base`, `contribution_<column>` and `standard_error_<column>`."""
    found: dict[str, Any] = answers.columns()
    if options.top_k is not None and answers.probabilities is not None:
        found = {"prediction": found["prediction"]}
        labels, shares = best(answers, options.top_k)
        pairs = zip(zip(*labels, strict=True), zip(*shares, strict=True), strict=True)
        for number, (label, share) in enumerate(pairs, 1):
            found |= {f"label_{number}": list(label), f"probability_{number}": list(share)}
    if explained is not None:
        found["base"] = explained.base
        for what, values in (
            ("contribution", explained.contributions),
            ("standard_error", explained.errors),
        ):
            for number, name in enumerate(explained.names):
                found[f"{what}_{name}"] = np.ascontiguousarray(values[:, number])
    return found


def write_table(kind: str, columns: Mapping[str, Any], about: Mapping[str, Any]) -> Response:
    """Columns as CSV, Arrow or Parquet; `about` becomes metadata of the latter two.

    Who answered is told by the headers that every answer has.
    """
    if kind == CSV:
        return Response(200, _csv(columns), b"text/csv; charset=utf-8; header=present")
    # see read_table: pyarrow is loaded by the first table that needs it
    from modelwright.serve.tables import write_columns

    metadata = {name: str(value) for name, value in about.items()}
    return Response(200, write_columns(kind, dict(columns), metadata), kind.encode())


def _csv(columns: Mapping[str, Any]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    cells = [
        values.tolist() if hasattr(values, "tolist") else values for values in columns.values()
    ]
    for number, values in enumerate(cells):
        if values and isinstance(values[0], bool):
            cells[number] = ["true" if value else "false" for value in values]
    writer.writerows(zip(*cells, strict=True))
    return out.getvalue().encode()
