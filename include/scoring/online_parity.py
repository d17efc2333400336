"""A sample of a partition's scores, and their distance from the online predictions for the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from include.records import ParityCheck, Period
from include.score_table import answer_columns
from include.scoring.attempts import STAGING
from include.spec import ModelSpec

_INSERT = text(
    "INSERT INTO sluice.parity_check (model, partition_start, version, artifact_digest, run_id, verdict, row_count,"
    " differing, largest_ulp, allowed_ulp, service, reason, published) VALUES (:model, :partition_start, :version,"
    " :artifact_digest, :run_id, :verdict, :rows, :differing, :largest_ulp, :allowed_ulp, :service, :reason,"
    " :published)"
)

Scores = dict[str | int, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of predictions from scores: rows that differ, maximum distance in ulp, key of the worst row."""

    differing: int
    largest_ulp: int
    worst: str | int | None


def staged_sample(engine: Engine, spec: ModelSpec, tables: Sequence[str], rows: int) -> Scores | None:
    """Return up to `rows` scores by key, from staging tables that are not published yet; None without the tables."""
    with engine.connect() as connection:
        there = text("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(cast(:names AS text[])) AS name")
        names = [f'{STAGING}."{table}"' for table in tables]
        if not connection.execute(there, {"names": names}).scalar():
            return None
    union = " UNION ALL ".join(f'SELECT * FROM {STAGING}."{table}"' for table in tables)  # noqa: S608  # our own names
    return _sample(engine, spec, f"({union}) AS staged", rows, {})


def published_sample(engine: Engine, spec: ModelSpec, period: Period, rows: int) -> Scores:
    """Return up to `rows` scores by key, of the partition that analysts read."""
    source = f'(SELECT * FROM scores."{spec.name}" WHERE partition_start = :start) AS published'  # noqa: S608  # a checked name
    return _sample(engine, spec, source, rows, {"start": period.start})


def store_check(engine: Engine, check: ParityCheck) -> None:
    """Add a check to ``sluice.parity_check``."""
    with engine.begin() as connection:
        connection.execute(_INSERT, check.model_dump())


def _sample(engine: Engine, spec: ModelSpec, source: str, rows: int, values: Mapping[str, object]) -> Scores:
    columns = ", ".join(f'"{name}"' for name in answer_columns(spec.target.classes))
    # By the hash of the key: the sample is spread over the rows, and repeatable.
    statement = (
        f"SELECT entity_key, {columns} FROM {source} "  # noqa: S608  # identifiers that ModelSpec has checked
        "ORDER BY hashtextextended(entity_key::text, 0), entity_key LIMIT :rows"
    )
    with engine.connect() as connection:
        found = connection.execute(text(statement), {**values, "rows": rows}).all()
    return {key: tuple(float(score) for score in scores) for key, *scores in found}


def distance(scores: Scores, answers: Mapping[str | int, Sequence[float]]) -> Distance:
    """Measure the distance of `answers` from `scores`; both have the same keys."""
    differing, largest, worst = 0, 0, None
    for key, given in scores.items():
        ulp = int(ulps(np.asarray(given), np.asarray(answers[key])).max())
        differing += ulp > 0
        if ulp > largest:
            largest, worst = ulp, key
    return Distance(differing, largest, worst)


def ulps(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the distance of two arrays in single-precision numbers, element by element; 0 for equal bits or two zeros.

    A number that single precision cannot represent is rounded to it, and differs from any other by at least 1.
    """
    apart = np.abs(_rank(left) - _rank(right))
    return np.where((apart == 0) & (left != right), 1, apart)


def _rank(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each number's rank among all numbers of single precision."""
    bits = numbers.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, np.int64(-(2**31)) - bits, bits)
