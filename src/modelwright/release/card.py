"""The model card, made from the records of a run: Markdown for Hugging Face, and HTML.

Sections in the order of Mitchell et al. 2019 (Model Cards for Model Reporting). What only an owner
can know stands in the spec; where it is empty, the card says so and the gate too.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString as Quoted

from modelwright.core.records import Finding
from modelwright.core.spec import Spec
from modelwright.release.card_sections import sections_of
from modelwright.release.document import Section, marked_down, page_of, to_markdown
from modelwright.release.practices import practices_section
from modelwright.release.run_records import RunRecords

REQUIRED, WANTED = ("intent", "out_of_scope"), ("owner", "ethics", "license")
_LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
    eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0
    odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl unknown
    other
"""
LICENSES = frozenset(_LICENSES.split())
"""Licences that Hugging Face knows by name; any other is written as `other` with its name."""
MOST_DUMPED = 16
_DUMPED: dict[str, str] = {}


def missing_from_card(spec: Spec) -> tuple[str, ...]:
    """Keys of the spec that the card needs (first) or wants, and that are empty.

    Example:
        >>> spec = Spec(name="m", intent="Ranks.", data={"source": "t.csv", "target": "y"})
        >>> missing_from_card(spec)
        ('out_of_scope', 'owner', 'ethics', 'license')
    """
    return tuple(key for key in (*REQUIRED, *WANTED) if not getattr(spec, key).strip())


def card_finding(spec: Spec) -> Finding:
    """The gate on the card: it fails while nobody said what the model is for and what not.

    Example:
        >>> card_finding(Spec(name="m", data={"source": "t.csv", "target": "y"})).verdict
        'fail'
    """
    missing = missing_from_card(spec)
    needed = [key for key in missing if key in REQUIRED]
    advice = f"fill {', '.join(f'{key}:' for key in missing)} in modelwright.yaml"
    return Finding(
        "card", "model card", "fail" if needed else "pass",
        f"empty: {', '.join(missing)}" if missing else "complete",
        f"{' and '.join(REQUIRED)} filled in by the owner",
        "nobody but its owner knows what a model is for" if needed else "",
        advice if missing else "", "warning",
    )  # fmt: skip


def card_markdown(given: RunRecords) -> str:
    """README.md of a model: the metadata block of Hugging Face, then the sections."""
    title = f"# {marked_down(_title(given))}"
    return f"---\n{_yaml(_metadata(given))}---\n\n{title}\n\n{to_markdown(_sections(given))}"


def card_html(given: RunRecords) -> str:
    """The same card as one HTML file without scripts or outside resources."""
    release = given.release
    return page_of(
        f"Model card: {_title(given)}", f"{release.run} · {release.at}", _sections(given)
    )


def _title(given: RunRecords) -> str:
    release = given.release
    return f"{release.model} {f'version {release.version}' if release.version else release.run}"


def _sections(given: RunRecords) -> list[Section]:
    found = sections_of(given, missing_from_card(given.spec))
    return found if given.practices is None else [*found, practices_section(given.practices)]


def _yaml(content: dict[str, Any]) -> str:
    """The block as text; the last ones are kept, since writing it takes most of a card's time."""
    known = _DUMPED.get(repr(content))
    if known is not None:
        return known
    yaml = YAML()
    yaml.width = 2**20
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(content, text)
    if len(_DUMPED) >= MOST_DUMPED:
        _DUMPED.clear()
    return _DUMPED.setdefault(repr(content), text.getvalue())


def _metadata(given: RunRecords) -> dict[str, Any]:
    """Every text in double quotes: then YAML 1.1 and 1.2 agree that `no` is a word."""
    task = given.manifest.schema.target.task
    pipeline = "tabular-regression" if task == "regression" else "tabular-classification"
    tags = ["tabular", task, given.manifest.family.rpartition(":")[2], "onnx", "modelwright"]
    return {
        **_license(given.spec.license),
        "library_name": "onnx",
        "pipeline_tag": pipeline,
        "tags": [Quoted(tag) for tag in dict.fromkeys(tags)],
        "metrics": [given.manifest.goal],
        "model-index": [
            {
                "name": Quoted(given.release.model),
                "results": [_result(given, pipeline)],
            }
        ],
    }


def _license(text: str) -> dict[str, str]:
    """The licence as Hugging Face knows it.

    Example:
        >>> _license("Apache-2.0"), _license("House rules 1")
        ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'house-rules-1'})
    """
    known = text.strip().lower()
    if not known:
        return {"license": Quoted("unknown")}
    if known in LICENSES:
        return {"license": Quoted(known)}
    name = re.sub(r"[^a-z0-9.]+", "-", known).strip("-.") or "see-card"
    return {"license": Quoted("other"), "license_name": Quoted(name)}


def _result(given: RunRecords, pipeline: str) -> dict[str, Any]:
    dataset = given.dataset
    source = re.split(r"[/\\]", dataset.source)[-1] or dataset.source
    return {
        "task": {"type": pipeline, "name": Quoted(f"predict {dataset.schema.target.name}")},
        "dataset": {
            "type": "tabular",
            "name": Quoted(source),
            "split": "holdout",
            "revision": Quoted(dataset.fingerprint),
        },
        "metrics": [
            {"type": Quoted(finding.subject), "name": Quoted(_metric_name(finding)), "value": value}
            for finding in given.release.evidence
            if finding.check in ("goal", "metric")
            for value in [_value(finding)]
            if math.isfinite(value)
        ],
    }


def _metric_name(finding: Finding) -> str:
    found = finding.interval
    if found is None:
        return finding.subject
    return f"{finding.subject} ({found.confidence:.0%}: {found.low:.4g} to {found.high:.4g})"


def _value(finding: Finding) -> float:
    """The measured number; a finding without an interval has it in words only."""
    if finding.interval is not None:
        return finding.interval.value
    try:
        return float(finding.measured.split(" ")[0].replace(",", ""))
    except ValueError:
        return math.nan
