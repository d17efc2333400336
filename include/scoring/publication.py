"""Publication: in one transaction a partition's rows are replaced and the ledger says so, or nothing happens.

Whatever is killed when, a reader sees the former rows whole or the new rows whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import csv
from sqlalchemy import Connection, Engine, text

from include.errors import ReconciliationError
from include.records import Period, PublishedPartition
from include.scoring.tables import score_columns
from include.spec import ModelSpec

_PARTITION = """
    SELECT model, partition_start, partition_end, version, artifact_digest, row_count, rows_digest, run_id, fence,
           published_at
    FROM sluice.score_partition WHERE model = :model AND partition_start = :start ORDER BY fence DESC LIMIT 1
"""
_LEDGER_ROW = """
    INSERT INTO sluice.score_partition
        (model, partition_start, partition_end, version, artifact_digest, row_count, rows_digest, run_id, fence)
    VALUES (:model, :start, :end, :version, :artifact_digest, :row_count, :rows_digest, :run_id, :fence)
"""


def publish(
    engine: Engine,
    spec: ModelSpec,
    period: Period,
    batches: Iterable[pa.RecordBatch],
    *,
    version: int,
    artifact_digest: str,
    run_id: str,
    expected_rows: int,
) -> PublishedPartition:
    """Replace the partition's rows by `batches`.

    Publishing what the same run has published already changes nothing and returns that publication:
    a retry after a kill publishes once.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        As `score_batches` yields them, in order of the key.
    expected_rows : int
        How many rows the validated period holds.

    Raises
    ------
    ReconciliationError
        When there came another number of rows; the former rows stay.
    """
    with engine.begin() as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"sluice.publish.{spec.name}.{period.start.isoformat()}"},
        )
        key = {"model": spec.name, "start": period.start}
        found = connection.execute(text(_PARTITION), key).mappings().one_or_none()
        former = None if found is None else PublishedPartition.model_validate(dict(found))
        connection.execute(text(f'DELETE FROM scores."{spec.name}" WHERE partition_start = :start'), key)  # noqa: S608
        count, digest = _copy(connection, spec, period, batches, version)
        if count != expected_rows:
            raise ReconciliationError(
                f"model '{spec.name}', partition {period}: expected the {expected_rows:,} rows that were validated; "
                f"scored {count:,}. Nothing was published, the former rows stay. The source changed meanwhile: "
                "run the task again from `validate`."
            )
        row = key | {
            "end": period.end,
            "version": version,
            "artifact_digest": artifact_digest,
            "row_count": count,
            "rows_digest": digest,
            "run_id": run_id,
            "fence": 1 if former is None else former.fence + 1,
        }
        if former is not None and _same(former, row):
            connection.rollback()
            return former
        connection.execute(text(_LEDGER_ROW), row)
        written = connection.execute(text(_PARTITION), key).mappings().one()
        return PublishedPartition.model_validate(dict(written))


def _same(former: PublishedPartition, row: dict[str, object]) -> bool:
    kept = former.model_dump()
    return all(kept[name] == row[name] for name in ("run_id", "version", "artifact_digest", "rows_digest"))


def _copy(
    connection: Connection, spec: ModelSpec, period: Period, batches: Iterable[pa.RecordBatch], version: int
) -> tuple[int, str]:
    """COPY the batches in; return how many rows, and the SHA-256 of what they say (all but the time of scoring)."""
    driver: Any = connection.connection.driver_connection  # psycopg's connection, which alone can COPY
    digest = hashlib.sha256()
    count = 0
    names = ("entity_key", "event_time", *score_columns(spec), *(["predicted"] if spec.target.classes else []))
    columns = ", ".join(f'"{name}"' for name in (*names, "partition_start", "model_version"))
    start = pa.scalar(period.start, pa.timestamp("us", "UTC"))
    with (
        driver.cursor() as cursor,
        cursor.copy(f'COPY scores."{spec.name}" ({columns}) FROM STDIN (FORMAT csv)') as copy,
    ):
        for batch in batches:
            row_count = batch.num_rows
            whole = batch.select(list(names)).append_column("partition_start", pa.repeat(start, row_count))
            content = _csv(whole.append_column("model_version", pa.repeat(pa.scalar(version, pa.int32()), row_count)))
            digest.update(content)
            copy.write(content)
            count += row_count
    return count, digest.hexdigest()


def _csv(batch: pa.RecordBatch) -> bytes:
    """Return the batch as CSV; Arrow writes the shortest decimal that reads back as the same double."""
    sink = BytesIO()
    csv.write_csv(batch, sink, csv.WriteOptions(include_header=False))
    return sink.getvalue()
