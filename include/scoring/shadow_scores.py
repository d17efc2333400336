"""A challenger's scores of a partition, in a separate table, and their divergence from the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text

from include.errors import ReconciliationError
from include.inference import compute_divergence
from include.records import PublishedPartition, ShadowDivergence
from include.score_table import LABEL, PARTITION, VERSION, answer_columns, table_columns
from include.scoring.binary_copy import HEADER, TRAILER, CopyWriter, encode_int4, encode_timestamptz
from include.scoring.rows import ScoredBatch
from include.scoring.tables import ensure_shadow_table
from include.spec import ModelSpec

_STORE = text(
    "INSERT INTO sluice.shadow_divergence (model, version, champion_version, source, partition_start, sampled_from,"
    " sampled_to, row_count, refused_rows, rank_correlation, decile_moves, label_flips, run_id) VALUES (:model,"
    " :version, :champion_version, :source, :partition_start, :sampled_from, :sampled_to, :row_count, :refused_rows,"
    " :rank_correlation, :decile_moves, :label_flips, :run_id) RETURNING id"
)


def write_shadow(
    engine: Engine,
    spec: ModelSpec,
    published: PublishedPartition,
    version: int,
    classes: Sequence[str],
    batches: Iterable[ScoredBatch],
) -> int:
    """Write a challenger's scores of a partition into ``scores.<model>_shadow``, all or none; return the row count.

    If the partition was scored by this version before, its rows are replaced.

    Parameters
    ----------
    classes : sequence of str
        The classes in the order of the challenger's scores.
    """
    columns = [column for column in table_columns(spec, classes) if column.in_shadow and column.rows is not None]
    quoted = ", ".join(f'"{name}"' for name in [*(column.name for column in columns), PARTITION, VERSION])
    same = [encode_timestamptz(published.partition_start), encode_int4(version)]
    writer = CopyWriter(classes, [], columns=columns, written=same)
    with engine.begin() as connection:
        table = ensure_shadow_table(connection, spec)
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
    """Compare a challenger's scores of a partition with the champion's, row by row, and store the divergence.

    Raises
    ------
    ReconciliationError
        When the two have different rows.
    """
    champion, challenger, flipped = _pairs(engine, spec, published, version)
    found = compute_divergence(champion, challenger, flipped=flipped)
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
    """Add a measured divergence to ``sluice.shadow_divergence``; return the row's id."""
    return int(connection.execute(_STORE, measured.model_dump()).scalar_one())


def _pairs(
    engine: Engine, spec: ModelSpec, published: PublishedPartition, version: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_] | None]:
    """Return the scores of champion and challenger, and which rows get another class; None for a regression."""
    columns = answer_columns(spec.target.classes)
    both = ", ".join([*(f'c."{name}"' for name in columns), *(f's."{name}"' for name in columns)])
    both += f', c."{LABEL}" <> s."{LABEL}"' if spec.target.classes else ", NULL"
    # All names are from the declaration; ModelSpec has checked them.
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
            "was scored again meanwhile, or the source changed: run the task again. If it fails again, features.sql "
            f"of version {version} leaves out rows that version {published.version} scored: they cannot be compared."
        )
    table = np.array([tuple(row)[:-1] for row in rows], dtype=np.float64).reshape(len(rows), 2 * len(columns))
    flipped = np.array([row[-1] for row in rows], dtype=np.bool_) if spec.target.classes else None
    return table[:, : len(columns)], table[:, len(columns) :], flipped
