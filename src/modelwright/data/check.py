"""Looking at tables without training: what the public `check` and `compare` do."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelwright.core.goals import check_slices, goal_of
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import DataChange, DatasetRecord
from modelwright.core.remembered import Remembered
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.data.compare import compare as compare_tables
from modelwright.data.dataset import load
from modelwright.data.origin import origin_of
from modelwright.data.sources import files_of, open_source
from modelwright.data.survey import is_large, survey

_RECORDS = Remembered[DatasetRecord](8)
_CHANGES = Remembered[DataChange](8)


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

    Asked again in one process with the same spec and files, it gives what was found, without
    reading; a file that has changed is read again (see `core.remembered`).

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
    files = files_of(data.source, spec_file.folder)
    if files is None:
        return _checked(spec_file, quick, progress or Silent())
    key = spec_file.folder, spec_file.digest, quick
    found = _RECORDS.get(key, files, lambda: _checked(spec_file, quick, progress or Silent()))
    origin = origin_of(data.source, spec_file.folder)  # git moves on without the file
    return msgspec.structs.replace(found, origin=origin)


def _checked(spec_file: SpecFile, quick: bool, progress: Progress) -> DatasetRecord:
    data = spec_file.spec.data
    source = open_source(data.source, spec_file.folder, data.read)
    if is_large(source):
        record = survey(spec_file, source, progress)
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

    def compared() -> DataChange:
        first, second = (open_source(str(source), Path()) for source in (one, two))
        return compare_tables(first, second, progress or Silent())

    files = [files_of(str(source), Path()) for source in (one, two)]
    if files[0] is None or files[1] is None:
        return compared()
    return _CHANGES.get((str(one), str(two), Path.cwd()), [*files[0], *files[1]], compared)
