"""Staging of one shard: reads, scores and writes its rows at the same time, then adds the primary key."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from include.errors import ReconciliationError
from include.inference import Scorer
from include.progress import SILENT, Progress
from include.records import ScorePlan, StagedShard
from include.score_table import KEY, PARTITION, VERSION, answer_columns, table_columns
from include.scoring.attempts import STAGING, Attempt, AttemptKey, acquire_attempt
from include.scoring.binary_copy import HEADER, TRAILER, CopyWriter
from include.scoring.errors import database_errors
from include.scoring.prefetch import prefetch
from include.scoring.row_digests import NOTHING, Sums, combine_sums, format_digest
from include.scoring.rows import ScoredBatch, score_batches
from include.scoring.staging_cleanup import drop_replaced
from include.spec import ModelSpec

Item = TypeVar("Item")
Rows = Callable[[], AbstractContextManager[Iterable[pa.RecordBatch]]]
"""Opens the source rows of the shard; it is called, read and closed in one thread."""


@dataclass(slots=True)
class _Totals:
    """Counts and sums of the rows of a shard."""

    read: int = 0
    scored: int = 0
    digest: Sums = NOTHING
    sums: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    labels: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "predict": 0.0, "write": 0.0, "key": 0.0})


def stage_shard(
    engine: Engine,
    spec: ModelSpec,
    plan: ScorePlan,
    shard: int,
    open_rows: Rows,
    scorer: Scorer,
    try_number: int = 1,
    progress: Progress = SILENT,
) -> StagedShard:
    """Score the rows of one shard into a staging table: all of them or, by rollback, none.

    Reading, predicting and writing each have a thread with at most two batches waiting between them, so the memory does
    not depend on the number of rows.

    Parameters
    ----------
    open_rows : callable
        Opens the shard's source rows, see `shard_of`. The version's own query gives them.
    try_number : int
        See `AttemptKey`.
    progress : Progress

    Raises
    ------
    ReconciliationError
        When the numbers of rows read, scored and staged differ, a key occurs twice, or a row gets no finite score.
    FencedError
        When a newer attempt has replaced this one, or the plan is published.
    DatabaseError
        When the database fails otherwise.
    """
    key = AttemptKey(plan.model, plan.period.start, plan.run_id, "shard", plan.attempt, shard, try_number)
    totals = _Totals()
    with acquire_attempt(engine, key) as attempt:
        drop_replaced(attempt)
        with attempt.connection.transaction():
            _make_table(attempt, spec, plan)
            opened = _scored(open_rows, scorer, key, totals)
            staged = _copy(attempt, spec, plan, scorer, opened, totals, progress)
            if not totals.read == totals.scored == staged:
                raise ReconciliationError(
                    f"{key}: expected as many rows staged as read; read {totals.read:,}, scored {totals.scored:,}, "
                    f"staged {staged:,}. Nothing was published. Run again from `validate`."
                )
            with _timed(totals, "key"):
                _make_key(attempt)
            attempt.lock()
    classes = scorer.signature.classes
    names = answer_columns(classes)
    sums = [0.0] * len(names) if totals.sums is None else totals.sums.tolist()
    counts = [0] * len(classes) if totals.labels is None else totals.labels.tolist()
    return StagedShard(
        model=plan.model,
        shard=shard,
        attempt=attempt.number,
        table=attempt.table,
        row_count=staged,
        rows_digest=format_digest(totals.digest),
        score_sums=dict(zip(names, sums, strict=True)),
        label_counts=dict(zip(classes, counts, strict=True)),
        **{f"{name}_seconds": round(seconds, 3) for name, seconds in totals.seconds.items()},
    )


@contextlib.contextmanager
def _scored(open_rows: Rows, scorer: Scorer, key: AttemptKey, totals: _Totals) -> Iterator[Iterator[ScoredBatch]]:
    def read() -> Iterator[pa.RecordBatch]:
        with database_errors(str(key), reading=True), open_rows() as batches:
            for batch in _each_timed(batches, totals, "read"):
                totals.read += batch.num_rows
                yield batch

    def predicted(batches: Iterator[pa.RecordBatch]) -> Iterator[ScoredBatch]:
        for scored in _each_timed(score_batches(_untimed(batches, totals, "predict"), scorer), totals, "predict"):
            totals.scored += scored.rows
            yield scored

    with prefetch(read()) as batches, prefetch(predicted(batches)) as scored:
        yield scored


def _make_table(attempt: Attempt, spec: ModelSpec, plan: ScorePlan) -> None:
    # Values that all rows share are defaults of the table, so that they are not sent with every row.
    declared = [column for column in table_columns(spec) if column.default is not None]
    defaults = "".join(f', ALTER "{column.name}" SET DEFAULT {column.default}' for column in declared)
    attempt.connection.execute(
        f'CREATE TABLE {STAGING}."{attempt.table}" (LIKE scores."{plan.model}" INCLUDING COMMENTS)'
    )
    attempt.connection.execute(
        f'ALTER TABLE {STAGING}."{attempt.table}" '
        # With this constraint the table is attached without a scan; for each inserted row it costs almost nothing.
        f"ADD CONSTRAINT of_partition CHECK ({PARTITION} = '{plan.period.start.isoformat()}'), "
        f"ALTER {PARTITION} SET DEFAULT '{plan.period.start.isoformat()}', ALTER {VERSION} SET DEFAULT {plan.version}"
        f"{defaults}"
    )


def _copy(
    attempt: Attempt,
    spec: ModelSpec,
    plan: ScorePlan,
    scorer: Scorer,
    opened: AbstractContextManager[Iterator[ScoredBatch]],
    totals: _Totals,
    progress: Progress,
) -> int:
    # The columns are named in the statement, so their order is that of the version's scores.
    classes = scorer.signature.classes
    columns = [column for column in table_columns(spec, classes) if column.rows is not None]
    listed = ", ".join(f'"{column.name}"' for column in columns)
    constants = [int(plan.period.start.timestamp() * 1_000_000), plan.version]
    writer = CopyWriter(classes, constants, columns=columns)
    # FREEZE: the rows are visible to every reader that sees the table, even with an old snapshot. Otherwise, after the
    # shards are attached, a reader with a snapshot between the loads of two of them would see only one.
    statement = f'COPY {STAGING}."{attempt.table}" ({listed}) FROM STDIN (FORMAT binary, FREEZE)'
    with opened as batches, attempt.connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(HEADER)
            written = 0
            total = plan.rows if plan.shards == 1 else None
            for batch in batches:
                with _timed(totals, "write"):
                    content, digest = writer.block(batch)
                    copy.write(content)
                    _count(totals, batch, digest, len(classes))
                written += batch.rows
                progress.report("rows scored", written, total)
            copy.write(TRAILER)
        return cursor.rowcount


def _count(totals: _Totals, batch: ScoredBatch, digest: Sums, classes: int) -> None:
    totals.digest = combine_sums((totals.digest, digest))
    sums = batch.scores.sum(axis=0)
    totals.sums = sums if totals.sums is None else totals.sums + sums
    if batch.labels is not None:
        counts = np.bincount(batch.labels, minlength=classes)
        totals.labels = counts if totals.labels is None else totals.labels + counts


def _make_key(attempt: Attempt) -> None:
    """Add the primary key, which proves that no key occurs twice and lets the table become a partition."""
    attempt.connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
    attempt.connection.execute(
        f'ALTER TABLE {STAGING}."{attempt.table}" ADD PRIMARY KEY ({KEY}, {PARTITION}), '
        f"ALTER {PARTITION} DROP DEFAULT, ALTER {VERSION} DROP DEFAULT"
    )


@contextlib.contextmanager
def _timed(totals: _Totals, name: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        totals.seconds[name] += time.perf_counter() - started


def _each_timed(items: Iterable[Item], totals: _Totals, name: str) -> Iterator[Item]:
    """Yield `items`; the time to produce each is added to `name`."""
    source = iter(items)
    while True:
        with _timed(totals, name):
            item = next(source, None)
        if item is None:
            return
        yield item


def _untimed(items: Iterator[Item], totals: _Totals, name: str) -> Iterator[Item]:
    """Yield `items`; the time to wait for each is subtracted from `name`."""
    for started in iter(time.perf_counter, None):
        item = next(items, None)
        totals.seconds[name] -= time.perf_counter() - started
        if item is None:
            return
        yield item
