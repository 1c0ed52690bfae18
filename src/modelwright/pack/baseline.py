"""The run's baseline as a model folder of its own: what can stand in where the model fails.

It is smaller, of another kind, and was trained on the same rows: the linear model, or the dummy
where the chosen model is the linear one itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from modelwright.core.errors import PackError
from modelwright.core.records import FitRecord, Trial
from modelwright.fit.pipeline import Fit, Pipeline
from modelwright.pack.build import Maker

FOLDER = "baseline"
_SCRATCH = ".baseline"
ORDER = ("linear", "dummy")


def pack_baseline(maker: Maker, fit: Fit, run: Path) -> str:
    """Write `baseline/` of a run, proved row by row as the model is.

    Args:
        maker: writes and proves folders.
        fit: the search's outcome with its trained baselines.
        run: the run's folder.

    Returns:
        The sha256 of its manifest.json; empty when none can be packed, which is no reason to
        refuse the model.
    """
    for name in ORDER:
        pipeline = fit.baselines.get(name)
        if pipeline is None or _is_part_of(pipeline, fit.best):
            continue
        try:
            written = maker.write(pipeline, _trial(fit.record, name), run / _SCRATCH)
            return maker.seal(written, pipeline, run / FOLDER).digest
        except PackError:
            continue
        finally:
            shutil.rmtree(run / _SCRATCH, ignore_errors=True)
    return ""


def _is_part_of(pipeline: Pipeline, chosen: Pipeline) -> bool:
    """A model that is the chosen one would fail in the same way."""
    return len(chosen.members) == 1 and chosen.members[0] is pipeline.members[0]


def _trial(record: FitRecord, name: str) -> Trial | None:
    found = [t for t in record.trials if t.family == name and t.origin == "default"]
    return found[0] if found else None
