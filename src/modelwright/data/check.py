"""Looking at tables without training: what the public `check` and `compare` do."""

from __future__ import annotations

from pathlib import Path

from modelwright.core.goals import check_slices, goal_of
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import DataChange, DatasetRecord
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.data.compare import compare as compare_tables
from modelwright.data.dataset import load
from modelwright.data.sources import open_source
from modelwright.data.survey import is_large, survey


def check(
    spec: str | Path | SpecFile = DEFAULT_NAME,
    *,
    overrides: tuple[str, ...] = (),
    quick: bool = False,
    progress: Progress | None = None,
) -> DatasetRecord:
    """Read spec and table, and say what was found, without training.

    Tables over 200 MB are surveyed in batches: memory does not grow with them, kinds and the
    costly checks are those of a sample (`record.sampled`).

    Args:
        spec: the spec file.
        overrides: ``key=value`` texts, as with ``--set``.
        quick: leave out the checks that cost seconds (label noise).
        progress: told how far it is.

    Raises:
        SpecError: the spec is wrong.
        DataError: the table cannot be used.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec), overrides)
    data = spec_file.spec.data
    source = open_source(data.source, spec_file.folder, data.read)
    if is_large(source):
        record = survey(spec_file, source, progress or Silent())
    else:
        record = load(spec_file, source, thorough=not quick).record
    goal_of(spec_file.spec, record.schema.target)
    check_slices(spec_file.spec.parsed_limits(), record.schema)
    return record


def compare(one: str | Path, two: str | Path, *, progress: Progress | None = None) -> DataChange:
    """What changed between two versions of a table: rows, columns, distributions.

    Args:
        one: the older; whatever `data.source` reads.
        two: the newer.
        progress: told how far it is.
    """
    first, second = (open_source(str(source), Path()) for source in (one, two))
    return compare_tables(first, second, progress or Silent())
