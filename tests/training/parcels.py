"""Rows of the model of `tests.builders` without a database: a batch, and a snapshot of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from include.records import SnapshotRef
from include.spec import ModelSpec
from include.training import split_by_time, write_snapshot
from tests.builders import TODAY

PER_DAY = 4
DAYS = 50
COUNT = DAYS * PER_DAY


def rows(days: int = DAYS, **columns: object) -> pa.RecordBatch:
    """`PER_DAY` rows a day for the `days` before `TODAY`; `columns` replace what they name."""
    count = days * PER_DAY
    start = TODAY.replace(hour=0) - timedelta(days=days)
    made: dict[str, object] = {
        "parcel_id": [f"p{n:04}" for n in range(count)],
        "sent_at": pa.array(
            [start + n * timedelta(hours=24 / PER_DAY) for n in range(count)], pa.timestamp("us", "UTC")
        ),
        "weight": [float(n % 30) for n in range(count)],
        "distance": [None if n % 7 == 0 else float(n) for n in range(count)],
        "carrier": [("ant", "bee", "cat")[n % 3] for n in range(count)],
        "fragile": [n % 2 == 0 for n in range(count)],
        "outcome": [("on_time", "late")[n % 5 == 0] for n in range(count)],
    }
    return pa.RecordBatch.from_pydict(made | columns)


def snapshot(spec: ModelSpec, batch: pa.RecordBatch, folder: Path) -> SnapshotRef:
    """Write the batch as a snapshot that is split as of `TODAY`."""
    return write_snapshot([batch], spec, split_by_time(spec, TODAY), folder)
