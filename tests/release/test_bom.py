"""The bill of materials is CycloneDX 1.6, and says what is in the model."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import cyclonedx.schema
import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

import modelwright as mw
from modelwright.core.records import DatasetRecord
from modelwright.core.runs import spec_of_run
from modelwright.core.store import from_json, sha256
from modelwright.release.attest import environment_lock
from modelwright.release.bom import Materials, bill_of_materials


@pytest.fixture
def bill(released: mw.Released) -> dict[str, Any]:
    return json.loads((released.run / "bom.cdx.json").read_bytes())


def test_it_follows_the_official_schema(bill: dict[str, Any]) -> None:
    folder = resources.files(cyclonedx.schema) / "_res"

    def read(name: str) -> Any:
        return json.loads((folder / name).read_bytes())

    schema = read("bom-1.6.SNAPSHOT.schema.json")
    registry: Registry[Any] = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(read(name)))
        for name in ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    )
    problems = Draft7Validator(schema, registry=registry).iter_errors(bill)
    assert [f"{list(p.absolute_path)}: {p.message[:200]}" for p in problems] == []
    broken = {**bill, "components": [{"type": "no such type", "name": "x"}]}
    assert list(Draft7Validator(schema, registry=registry).iter_errors(broken))


def test_it_names_model_data_and_libraries(bill: dict[str, Any], released: mw.Released) -> None:
    model = bill["metadata"]["component"]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert (model["type"], model["name"]) == ("machine-learning-model", "shop")
    for file in model["components"]:
        data = (released.run / "artefact" / file["name"]).read_bytes()
        assert file["hashes"] == [{"alg": "SHA-256", "content": sha256(data)}]
    assert {file["name"] for file in model["components"]} == {
        "golden.json", "manifest.json", "model.onnx", "spec.json",
    }  # fmt: skip
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    auc = next(m for m in metrics if m["type"] == "roc_auc")
    span = auc["confidenceInterval"]
    assert float(span["lowerBound"]) < float(auc["value"]) < float(span["upperBound"])
    data, *libraries = bill["components"]
    assert data["type"] == "data" and data["version"]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    purls = {library["name"]: library["purl"] for library in libraries}
    assert purls["lightgbm"].startswith("pkg:pypi/lightgbm@")
    assert {"numpy", "onnx", "onnxruntime", "msgspec", "mlflow", "python"} <= set(purls)
    assert "pytest" not in purls and "mypy" not in purls
    known = {c["bom-ref"] for c in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) == known


def test_what_the_model_is_for_and_not_for_is_in_its_card(released: mw.Released) -> None:
    spec = spec_of_run(released.run).spec.model_copy(
        update={"intent": "offers by mail", "out_of_scope": "credit"}
    )
    artefact = mw.Artefact.load(released.run / "artefact")
    dataset = from_json((released.run / "dataset.json").read_bytes(), DatasetRecord)
    lock = environment_lock(artefact.manifest.versions)
    bill = bill_of_materials(Materials(artefact, released.record, spec, dataset, lock))
    card = bill["metadata"]["component"]["modelCard"]
    assert card["considerations"] == {
        "useCases": ["offers by mail"],
        "technicalLimitations": ["Not for: credit"],
    }
