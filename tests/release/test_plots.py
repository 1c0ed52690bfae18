"""The report's curves as files of their own."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest

from evidences import known_model, known_regression
from modelwright.core.evaluation import Confusion
from modelwright.release.evaluate import evaluate
from modelwright.release.plots import plots

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (known_model, {"roc", "pr", "calibration", "confusion"}),
        (known_regression, {"residuals", "age"}),
    ],
)
def test_each_curve_is_a_whole_picture(make: type, names: set[str]) -> None:
    found = plots(evaluate(make(400, ordered=make is known_regression), 0.05))
    assert set(found) == names
    for text in found.values():
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg" and root.find(f"{SVG}title") is not None
        assert "var(" not in text, "colours are those of a page that is not there"


def test_hostile_labels_stay_text() -> None:
    bad = "<script>alert('1')</script>&" * 3
    confusion = Confusion((bad, "b", "c"), ((1, 2, 3), (4, 5, 6), (0, 0, 0)))
    base = evaluate(known_model(200), 0.05)
    curves = tuple(msgspec.structs.replace(c, of=bad) for c in (base.curves[0], base.curves[0]))
    found = plots(msgspec.structs.replace(base, curves=curves, confusion=confusion))
    for text in found.values():
        assert "<script" not in text and ElementTree.fromstring(text) is not None
    assert sum(node.text == "6" for node in ElementTree.fromstring(found["confusion"]).iter()) == 1
