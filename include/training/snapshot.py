"""The rows of a training and its holdout: split by time, and stored in one Parquet file named by its SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import NotEnoughDataError
from include.progress import SILENT, Progress
from include.provenance import read_regular_file
from include.records import Period, SnapshotRef, Split
from include.spec import FeatureQuery, ModelSpec

MIN_ROWS = 10


def split_by_time(spec: ModelSpec, as_of: datetime) -> Split:
    """Return the training and holdout periods for a run at `as_of`: split by time, never at random.

    The holdout ends at the last midnight (UTC) whose labels are known by then, so all runs of a day
    see the same rows.

    Raises
    ------
    NotEnoughDataError
        When the window would begin before the year 1.
    """
    try:
        known = as_of - spec.target.label_delay
        end = known.replace(hour=0, minute=0, second=0, microsecond=0)
        holdout = Period(start=end - spec.window.holdout, end=end)
        train_end = holdout.start - spec.window.gap
        return Split(train=Period(start=train_end - spec.window.train, end=train_end), holdout=holdout)
    except OverflowError:
        window = spec.window
        length = window.train + window.gap + window.holdout + spec.target.label_delay
        raise NotEnoughDataError(
            f"model '{spec.name}', as of {as_of.isoformat()}: expected a window that begins in the year 1 or later; "
            f"found one that begins {length.days:,} days before that time. Train as of a time of your data "
            "(`--as-of 2026-01-31`), or shorten `window` in spec.py."
        ) from None


def write_snapshot(
    batches: Iterable[pa.RecordBatch],
    spec: ModelSpec,
    split: Split,
    folder: Path,
    query: FeatureQuery | None = None,
    progress: Progress = SILENT,
) -> SnapshotRef:
    """Write the rows, in the order in which they come, and return where they are and what they are.

    The same rows in the same order give the same digest, because nothing else goes into the file.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Labelled rows of the whole split, in order of event time.
    folder : Path
        The file becomes ``<folder>/<digest>.parquet``. The text of the query is kept beside it.
    query : FeatureQuery, optional
        The query that gave the rows; by default the declared one. A file may change while rows are read.
    progress : Progress

    Raises
    ------
    NotEnoughDataError
        When training or holdout has fewer than 10 labelled rows.
    """
    query = query or spec.query
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{os.getpid()}.tmp"
    train_rows = holdout_rows = read = 0
    writer: pq.ParquetWriter | None = None
    try:
        for batch in batches:
            if writer is None:
                writer = pq.ParquetWriter(staged, batch.schema, compression="zstd")
            writer.write_batch(batch)
            read += batch.num_rows
            progress.report("rows read", read)
            times = batch.column(spec.event_time)
            train_rows += pc.sum(within(times, split.train)).as_py() or 0
            holdout_rows += pc.sum(within(times, split.holdout)).as_py() or 0
    finally:
        if writer is not None:
            writer.close()
    _check_counts(spec, split, train_rows, holdout_rows)
    digest = _flush_and_digest(staged)
    final = folder / f"{digest}.parquet"
    staged.rename(final)
    query_file(folder, query.digest).write_bytes(query.text.encode())
    return SnapshotRef(
        model=spec.name,
        path=str(final),
        digest=digest,
        query_digest=query.digest,
        split=split,
        train_rows=train_rows,
        holdout_rows=holdout_rows,
    )


def read_query(snapshot: SnapshotRef) -> bytes:
    """Return the content of the ``features.sql`` that read the rows of a snapshot.

    Raises
    ------
    ArtifactError
        When the file is missing, or not what its digest says.
    """
    file = query_file(Path(snapshot.path).parent, snapshot.query_digest)
    return read_regular_file(file, digest=snapshot.query_digest)


def query_file(folder: Path, digest: str) -> Path:
    """Return the path of a query's text in the folder of snapshots."""
    return folder / f"{digest}.sql"


def within(times: pa.Array | pa.ChunkedArray, period: Period) -> pa.Array | pa.ChunkedArray:
    """Return a mask of the `times` that fall into `period`."""
    return pc.and_(pc.greater_equal(times, pa.scalar(period.start)), pc.less(times, pa.scalar(period.end)))


def _check_counts(spec: ModelSpec, split: Split, train_rows: int, holdout_rows: int) -> None:
    for part, period, rows in (("training", split.train, train_rows), ("holdout", split.holdout, holdout_rows)):
        if rows < MIN_ROWS:
            raise NotEnoughDataError(
                f"model '{spec.name}': the {part} period, {period}, holds {rows} labelled row(s); expected at least "
                f"{MIN_ROWS}. Load the data of that period, or change `window` in spec.py."
            )


def _flush_and_digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
