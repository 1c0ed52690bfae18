"""What agents can read without a tool: spec, policy, runs, profiles, cards, evidence, live."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

import modelwright as mw
from modelwright.core.errors import ModelwrightError, NoSuchModel, UsageError
from modelwright.core.policy import read_policy
from modelwright.core.records import DatasetRecord
from modelwright.core.runs import DATASET, RUN_NAME
from modelwright.core.spec_file import DEFAULT_NAME
from modelwright.core.store import from_json
from modelwright.ways_in.lines import column_line, lines, run_result
from modelwright.ways_in.mcp.calling import HERE, Json
from modelwright.ways_in.mcp.status import runs_of
from modelwright.ways_in.mcp.untrusted import clean, fenced

JSON = "application/json"
LONGEST_TEXT = 60_000
MOST_BYTES = 60_000
MOST_RUNS = 100
WEEK = 7 * 86400.0

RESOURCES = {
    "modelwright://spec": "modelwright.yaml as it stands.",
    "modelwright://policy": "What agents may do, with the defaults.",
    "modelwright://runs": "Runs, newest first.",
    "modelwright://runs/{id}": "A judged run: verdict, leaderboard, gates.",
    "modelwright://datasets/{name}/profile": "The table of a model's newest run: columns, "
    "findings; no values.",
    "modelwright://models/{name}/{version}/card": "The model card.",
    "modelwright://models/{name}/{version}/evidence": "Every gate that the version went through.",
    "modelwright://live/{name}/report": "How the live model stands: open episodes, findings.",
}
"""Address -> what it holds."""


def add_resources(server: MCPServer) -> None:
    """Give a server its resources."""
    made: dict[str, Callable[..., str]] = {
        "modelwright://spec": _spec,
        "modelwright://policy": _policy,
        "modelwright://runs": _runs,
        "modelwright://runs/{id}": _run,
        "modelwright://datasets/{name}/profile": _profile,
        "modelwright://models/{name}/{version}/card": _card,
        "modelwright://models/{name}/{version}/evidence": _evidence,
        "modelwright://live/{name}/report": _live,
    }
    for address, read in made.items():
        name = address.removeprefix("modelwright://").replace("{", "").replace("}", "")
        mime = "application/yaml" if read is _spec else JSON
        server.resource(
            address, name=name.replace("/", "_"), description=RESOURCES[address], mime_type=mime
        )(read)


def _spec() -> str:
    try:
        return clean((HERE / DEFAULT_NAME).read_text(encoding="utf-8"), LONGEST_TEXT)
    except (OSError, UnicodeDecodeError) as error:
        told = f"There is no {DEFAULT_NAME}: use init or spec_write."
        raise ResourceNotFoundError(told) from error


def _policy() -> str:
    return _json(lambda: read_policy(HERE).model_dump(mode="json", exclude={"approvers"}))


def _runs() -> str:
    return _json(lambda: {"runs": runs_of(HERE)[:MOST_RUNS]})


def _run(id: str) -> str:
    def made() -> Json:
        if not RUN_NAME.fullmatch(id):
            raise UsageError("That is no run.", hint="modelwright://runs lists them.")
        found = mw.records_of(id, folder=HERE)
        return run_result(found.release, found.fit, found.folder).model_dump(mode="json")

    return _json(made)


def _profile(name: str) -> str:
    def made() -> Json:
        for line in runs_of(HERE):
            if line["model"] != name:
                continue
            where = HERE / "runs" / line["run"] / DATASET
            record = from_json(where.read_bytes(), DatasetRecord, where=DATASET)
            columns = [column_line(record, one) for one in record.schema.columns]
            return {
                "model": name, "run": line["run"], "rows": record.rows,
                "train_rows": record.train_rows, "holdout_rows": record.holdout_rows,
                "split": record.split, "fingerprint": record.fingerprint,
                "target": record.schema.target.name, "task": record.schema.target.task,
                "columns": [one.model_dump(mode="json") for one in columns],
                "findings": [one.model_dump(mode="json") for one in lines(record.findings)],
            }  # fmt: skip
        raise NoSuchModel("No run of that model was judged here.", hint="Begin with run.")

    return _json(made)


def _card(name: str, version: str) -> str:
    def made() -> Json:
        found = mw.records_of(f"{name}/{version}", folder=HERE)
        card = found.folder / "card.md"
        if not card.exists():
            mw.write_pages(found)
        return {"model": name, "version": version, "card": card.read_text(encoding="utf-8")}

    return _json(made, longest=LONGEST_TEXT)


def _evidence(name: str, version: str) -> str:
    def made() -> Json:
        found = mw.records_of(f"{name}/{version}", folder=HERE).release
        gates = [one.model_dump(mode="json") for one in lines(found.evidence)]
        return {"model": name, "version": version, "run": found.run, "verdict": found.verdict,
                "findings": gates}  # fmt: skip

    return _json(made)


def _live(name: str) -> str:
    def made() -> Json:
        found = mw.watch_findings(HERE / DEFAULT_NAME, since=time.time() - WEEK)
        if found["model"] != name:
            raise NoSuchModel(
                "This project watches another model.", hint=f"It is {found['model']}."
            )
        return found

    return _json(made)


def _json(made: Callable[[], Json], longest: int | None = None) -> str:
    """Fenced JSON of what a function finds; its errors as the library wants them."""
    try:
        found = made()
    except (NoSuchModel, UsageError) as error:
        raise ResourceNotFoundError(clean(str(error))) from error
    except ModelwrightError as error:
        raise ResourceError(clean(str(error))) from error
    text = msgspec.json.encode(fenced(found, longest)).decode()
    if len(text.encode()) > MOST_BYTES and longest is None:
        short: dict[str, Any] = {
            k: v[: max(1, len(v) * MOST_BYTES // (2 * len(text)))] if isinstance(v, list) else v
            for k, v in fenced(found).items()
        }
        text = msgspec.json.encode(short | {"truncated": True}).decode()
    return text
