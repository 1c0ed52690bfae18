"""Schemathesis asks the real server everything that its OpenAPI document allows, and much that it
does not: no 5xx, no undeclared code or content type, answers as described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

import modelwright as mw
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import read
from modelwright.serve.settings import Journaling, Source
from serve.running import serving
from serve.test_app import server

load_all_checks()
JUDGED = CHECKS.get_by_names([
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance",
])  # fmt: skip
[FAULT] = CHECKS.get_by_names(["not_a_server_error"])
"""A deadline that a request brings may be too short for anybody: then 504 is no fault."""
# Whether a value is taken is not judged: the intake is more tolerant than a schema can say, such as
# a number for a category, and stricter, such as a date of the year 0.
DEADLINE = "x-request-timeout-ms"
EXAMPLES = int(os.environ.get("MODELWRIGHT_FUZZ", "25"))


@pytest.fixture(scope="module")
def asked(released: mw.Released) -> Iterator[httpx.Client]:
    with server(released.run / "artefact") as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_route_keeps_its_word(mode: GenerationMode, asked: httpx.Client) -> None:
    base = str(asked.base_url).rstrip("/")
    document = schemathesis.openapi.from_url(f"{base}/openapi.json")
    example = asked.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    good = example["content"]["application/json"]["example"]
    broken: list[str] = []
    # load and unload change what the others find; tests/serve/test_repository.py has them
    for found in document.exclude(path_regex="/repository/models/").get_all_operations():
        operation = found.ok()
        try:
            ask(operation, mode)
        except FailureGroup as failures:
            why = "; ".join(f"{f.title}: {f.message}" for f in failures.exceptions)
            broken.append(f"{operation.label}: {why}")
        except Unsatisfiable:
            continue  # a route without parameters and body cannot be asked wrongly
        assert asked.post("/predict", json=good).status_code == 200, operation.label
    assert not broken, "\n\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_labels_are_taken_or_refused(
    mode: GenerationMode, released: mw.Released, tmp_path: Path
) -> None:
    source = Source(name="shop", folder=str(released.run / "artefact"), version="3", tried=True)
    to = tmp_path / "journal"
    with serving(tmp_path, source, journal=Journaling(to=str(to))) as running:
        document = schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")
        for found in document.include(path_regex="/labels$").get_all_operations():
            ask(found.ok(), mode)
        body = {"request_id": "last", "label": "yes"}
        assert running.ask("/v2/models/shop/labels", body).status == 200
    assert "last" in read(place_of(str(to)), "shop")["request_id"].to_pylist()
    assert "Traceback" not in running.errors.read_text()


def ask(operation: Any, mode: GenerationMode) -> None:
    """Many requests to one route."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        reply = case.call(timeout=20)
        late = reply.status_code == 504 and DEADLINE in (case.headers or {})
        case.validate_response(reply, checks=[c for c in JUDGED if c is not FAULT or not late])

    one()
