"""A challenger's scores of a partition, in a table of their own, and how far they are from what was published."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text

from include.errors import ReconciliationError
from include.inference import compute_divergence
from include.records import PublishedPartition, ShadowDivergence
from include.scoring.binary_copy import HEADER, TRAILER, CopyWriter, encode_int4, encode_timestamptz
from include.scoring.rows import ScoredBatch
from include.scoring.tables import advisory_lock, score_columns
from include.spec import ModelSpec

_STORE = text(
    "INSERT INTO sluice.shadow_divergence (model, version, champion_version, source, partition_start, sampled_from,"
    " sampled_to, row_count, refused_rows, rank_correlation, decile_moves, label_flips, run_id) VALUES (:model,"
    " :version, :champion_version, :source, :partition_start, :sampled_from, :sampled_to, :row_count, :refused_rows,"
    " :rank_correlation, :decile_moves, :label_flips, :run_id) RETURNING id"
)


def write_shadow(
    engine: Engine, spec: ModelSpec, published: PublishedPartition, version: int, batches: Iterable[ScoredBatch]
) -> int:
    """Write a challenger's scores of a partition into ``scores.<model>_shadow``, all or none; return the rows.

    Scored again, a partition's rows of this version are replaced.
    """
    table = f'scores."{spec.name}_shadow"'
    predicted = ["predicted_label"] if spec.target.classes else []
    names = ["entity_key", *score_columns(spec), *predicted, "partition_start", "model_version"]
    quoted = ", ".join(f'"{name}"' for name in names)
    same = [encode_timestamptz(published.partition_start), encode_int4(version)]
    writer = CopyWriter(spec.target.classes, [], timed=False, written=same)
    with engine.begin() as connection:
        _ensure_table(connection, spec, table)
        connection.execute(
            text(f"DELETE FROM {table} WHERE partition_start = :start AND model_version = :version"),  # noqa: S608  # checked
            {"start": published.partition_start, "version": version},
        )
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  # an open connection has one
        with driver.cursor() as cursor:
            with cursor.copy(f"COPY {table} ({quoted}) FROM STDIN (FORMAT binary)") as copy:
                copy.write(HEADER)
                for batch in batches:
                    copy.write(writer.block(batch)[0])
                copy.write(TRAILER)
            return int(cursor.rowcount)


def measure_divergence(
    engine: Engine, spec: ModelSpec, published: PublishedPartition, version: int, run_id: str
) -> ShadowDivergence:
    """Hold a challenger's scores of a partition against the champion's, row by row, and store the figures.

    Raises
    ------
    ReconciliationError
        When the two are not of the same rows.
    """
    champion, challenger = _pairs(engine, spec, published, version)
    found = compute_divergence(champion, challenger, classes=bool(spec.target.classes))
    measured = ShadowDivergence(
        model=spec.name,
        version=version,
        champion_version=published.version,
        partition_start=published.partition_start,
        row_count=len(champion),
        run_id=run_id,
        **found.model_dump(),
    )
    with engine.begin() as connection:
        store_divergence(connection, measured)
    return measured


def store_divergence(connection: Connection, measured: ShadowDivergence) -> int:
    """Add what was measured to ``sluice.shadow_divergence``; return the row's id."""
    return int(connection.execute(_STORE, measured.model_dump()).scalar_one())


def _pairs(
    engine: Engine, spec: ModelSpec, published: PublishedPartition, version: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    columns = score_columns(spec)
    both = ", ".join([*(f'c."{name}"' for name in columns), *(f's."{name}"' for name in columns)])
    # Names are the declaration's, which ModelSpec has checked.
    query = f"""
        SELECT {both} FROM scores."{spec.name}" AS c JOIN scores."{spec.name}_shadow" AS s
            USING (partition_start, entity_key)
        WHERE c.partition_start = :start AND c.model_version = :champion AND s.model_version = :version
    """  # noqa: S608
    values = {"start": published.partition_start, "champion": published.version, "version": version}
    with engine.connect() as connection:
        rows = connection.execute(text(query), values).all()
    if len(rows) != published.row_count:
        raise ReconciliationError(
            f"shadow of '{spec.name}' at {published.partition_start.isoformat()}: expected the {published.row_count:,} "
            f"rows that were published with version {published.version}; found {len(rows):,} in both. The partition "
            "was scored anew meanwhile, or the source changed: run the task again."
        )
    table = np.array([tuple(row) for row in rows], dtype=np.float64).reshape(len(rows), 2 * len(columns))
    return table[:, : len(columns)], table[:, len(columns) :]


def _ensure_table(connection: Connection, spec: ModelSpec, table: str) -> None:
    advisory_lock(connection, f"sluice.table.{spec.name}_shadow")
    answers = "".join(f'"{name}" double precision NOT NULL, ' for name in score_columns(spec))
    predicted = "predicted_label text NOT NULL, " if spec.target.classes else ""
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {table} (partition_start timestamptz NOT NULL, "
        f"entity_key {spec.entity_key.type} NOT NULL, {answers}{predicted}model_version integer NOT NULL, "
        "scored_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (partition_start, model_version, entity_key))"
    )
