"""Writing a table a batch at a time, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow.parquet

from modelwright.core.errors import UsageError


def write_batches(frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Write frames one after the other into one file that appears when all are in it.

    Args:
        frames: of equal columns.
        path: a CSV or Parquet file by its ending.

    Returns:
        How many rows were written.

    Raises:
        UsageError: an ending other than .csv and .parquet, or a folder that cannot be written.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(
            f"Cannot write {path.name.lower()}:", hint="the ending must be .csv or .parquet."
        )
    part = path.with_name(f".{path.name}.part")
    write = _csv if path.suffix.lower() == ".csv" else _parquet
    try:
        rows = write(frames, part)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return rows


def _csv(frames: Iterable[pl.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("wb") as file:
        for frame in frames:
            frame.write_csv(file, include_header=rows == 0)
            rows += frame.height
    return rows


def _parquet(frames: Iterable[pl.DataFrame], path: Path) -> int:
    rows, writer = 0, None
    try:
        for frame in frames:
            table = frame.to_arrow()
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows += frame.height
    finally:
        if writer is not None:
            writer.close()
    return rows
