"""The blocks and tables of docs/observe.md hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from modelwright.core.spec_file import parse_spec
from modelwright.serve.access_log import Line
from modelwright.serve.metric_names import ALIASES, FAMILIES
from modelwright.serve.scopes import ROUTES
from test_docs import blocks

PAGE = "docs/observe.md"
TEXT = (Path(__file__).resolve().parents[1] / PAGE).read_text(encoding="utf-8")


def lines_of(names: set[str]) -> set[tuple[str, ...]]:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, flags=re.M)
    return {(name, *rest.split(" | ")) for name, rest in rows if name in names}


def test_the_tables_of_metrics_are_whole() -> None:
    ours = {
        (f.name, f.kind, ", ".join(f.labels), f.help)
        for f in FAMILIES.values()
        if f.name not in ALIASES
    }
    assert lines_of({name for name, *_ in ours}) == ours
    theirs = {(name, ", ".join(FAMILIES[name].labels), of) for name, of in ALIASES.items()}
    assert lines_of(set(ALIASES)) == theirs


def test_every_route_that_can_be_asked_for_is_in_the_table_of_scopes() -> None:
    [table] = re.findall(r"^\| scope \| may \|\n(.*?)\n\n", TEXT, flags=re.S | re.M)
    for _, path, _ in ROUTES:
        if path.startswith("/v2/models") or path == "/v2":
            continue  # "metadata of models", ".../infer"
        assert f"`{path}`" in table or path.startswith("/v2/repository/"), path


def test_the_specs_are_right(tmp_path: Path) -> None:
    found = blocks(PAGE, 'yaml title="modelwright.yaml"')
    assert len(found) == 3
    for text in found:
        head = "name: shop\ndata: {source: shop.csv, target: bought}\n"
        assert parse_spec(head + text, tmp_path / "modelwright.yaml").spec.serve


def test_the_line_of_the_log_is_one() -> None:
    [text] = blocks(PAGE, 'json title="line"')
    fields = set(json.loads(text))
    line = msgspec.convert(json.loads(text), Line)
    assert fields == set(json.loads(msgspec.json.encode(line)))
    assert fields | {"fallback", "cached", "reason"} == set(Line.__struct_fields__)


@pytest.mark.slow
def test_the_commands_run(project: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for text in blocks(PAGE, "bash"):
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=project, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert json.loads((project / "grafana.json").read_text())["panels"]
    [shown] = blocks(PAGE, 'yaml title="prometheus.yml"')
    [documented] = YAML(typ="safe").load(shown)["scrape_configs"]
    [printed] = YAML(typ="safe").load(done.stdout[done.stdout.index("- job_name") :])
    assert documented == {**printed, "authorization": documented["authorization"]}
