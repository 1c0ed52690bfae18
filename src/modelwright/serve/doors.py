"""The routes that predict: how each reads its request and writes its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelwright.serve.bodies import media_type, read_table
from modelwright.serve.messages import Answered, Live, Question, Reader, Request, Response
from modelwright.serve.mlflow_routes import read_invocations, write_invocations
from modelwright.serve.oip import read_infer, write_infer
from modelwright.serve.protocol import read_predict
from modelwright.serve.replies import Options, check_options, options_of, write_answer
from modelwright.serve.settings import Settings

Writer = Callable[[Answered], Response]
PREDICT, INFER, INVOCATIONS, LABELS = "predict", "infer", "invocations", "labels"


@dataclass(frozen=True, slots=True)
class Door:
    """How one request is read and answered.

    Attributes:
        explained: for an answer that needs further runs of the graph, in the place of `write`; up
            to a moment of `time.perf_counter()`.
    """

    read: Reader
    write: Writer
    explained: Callable[[Answered, float], Response] | None = None


def predict(request: Request, settings: Settings, options: Options) -> Door:
    """`POST /predict`: JSON, CSV, Arrow or Parquet; see docs/predict.md."""
    content_type = request.headers.get("content-type", "")
    is_json = media_type(content_type)[0] in ("application/json", "")

    def read(live: Live) -> Question:
        unknown = _counted(settings)
        if is_json:
            found = read_predict(
                live.schema, request.body, settings.max_rows, unknown=unknown, key=settings.key
            )
        else:
            found = read_table(
                live.schema, content_type, request.body, settings.max_rows,
                unknown=unknown, key=settings.key,
            )  # fmt: skip
        check_options(live.schema, options, found.rows)
        found.unknown = unknown or {}
        return found

    def write(found: Answered) -> Response:
        return write_answer(found, options, None, found.marks)

    def explained(found: Answered, until: float) -> Response:
        if found.fallback == "constant":
            return write(found)
        # explaining is hundreds of runs of the graph, and most servers are never asked for it
        from modelwright.serve.explain import explain

        why = explain(found.live, found.question.feeds, found.answers, until=until)
        return write_answer(found, options, why, found.marks)

    return Door(read, write, explained if options.explain else None)


def infer(request: Request, settings: Settings) -> Door:
    """`POST /v2/models/NAME/infer` of the Open Inference Protocol."""

    def read(live: Live) -> Question:
        return read_infer(
            live.schema, request.body, request.headers, settings.max_rows, settings.key,
            counts_unknown=settings.unknown_columns == "count",
        )  # fmt: skip

    def write(found: Answered) -> Response:
        live = found.live
        return write_infer(
            live.model, live.version, found.question, found.answers, parameters=found.marks
        )

    return Door(read, write)


def invocations(request: Request, settings: Settings) -> Door:
    """`POST /invocations`, as MLflow's scoring server has it."""
    content_type = request.headers.get("content-type", "")

    def read(live: Live) -> Question:
        unknown = _counted(settings)
        found = read_invocations(
            live.schema, content_type, request.body, settings.max_rows,
            unknown=unknown, key=settings.key,
        )  # fmt: skip
        found.unknown = unknown or {}
        return found

    return Door(read, write_invocations)


def door_of(name: str, request: Request, settings: Settings) -> Door:
    """The door of a route, and of the query and headers of its request.

    Raises:
        ProtocolError: 400, the query cannot be read.
    """
    if name == INFER:
        return infer(request, settings)
    if name == INVOCATIONS:
        return invocations(request, settings)
    options = options_of(request.query, request.headers.get("accept", ""))
    return predict(request, settings, options)


_JSON = ("application/json", "")
_ANY = ("*/*", "", "application/json")


def is_plain(request: Request) -> bool:
    """Whether rows in JSON are asked for and JSON is wanted back: then there is a shorter way."""
    headers = request.headers
    kind = headers.get("content-type", "")
    if kind not in _JSON and media_type(kind)[0] != "application/json":
        return False
    return not request.query and headers.get("accept", "") in _ANY


def _counted(settings: Settings) -> dict[str, int] | None:
    return {} if settings.unknown_columns == "count" else None
