"""The rows that everybody scores: the sample's features, materialised, many times over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from include.models import read_spec
from include.records import Period
from include.spec import FeatureQuery, ModelSpec, Scoring

PERIOD = Period(start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2100, 1, 1, tzinfo=UTC))
"""All rows are one partition."""
SAMPLE = 336_776


def table_of(times: int) -> str:
    """Return the name of the table that holds the sample `times` times over."""
    return f"bench_{times}x"


def make_rows(engine: Engine, spec: ModelSpec, times: int) -> int:
    """Make the table unless it is there; return how many rows it has.

    The features query runs once, so that reading costs the naive way and ours the same, and says nothing of
    the joins of one particular model. Each copy has keys of its own.
    """
    from include.warehouse.rows import bound_query

    table = f"source.{table_of(times)}"
    columns = ", ".join(f'"{each.name}"' for each in spec.features)
    with engine.begin() as connection:
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": table}).scalar() is None:
            print(f"making {table} ...", flush=True)
            connection.exec_driver_sql(
                f"CREATE TABLE {table} AS SELECT copy || '-' || flight_key AS flight_key, scheduled_at, {columns},"
                f" arrival FROM ({bound_query(spec.query, PERIOD)}) AS sample, generate_series(1, {times}) AS copy"
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE {table}")
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def spec_over(spec: ModelSpec, times: int, shard_rows: int, folder: Path) -> ModelSpec:
    """Return the model's spec, reading that table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.sql").write_text(
        f"SELECT * FROM source.{table_of(times)} WHERE scheduled_at >= :period_start AND scheduled_at < :period_end\n"
    )
    return spec.model_copy(update={"folder": folder, "scoring": Scoring(shard_rows=shard_rows)})


def source_of(url: str, spec: ModelSpec) -> Any:
    """Return a source that gives every version the rows of the query of `spec`: the champion scores the large table."""
    from include.warehouse.feature_source import PostgresFeatureSource  # not in the process of the naive way

    class SourceOfSpec(PostgresFeatureSource):
        def read(self, query: FeatureQuery, *values: Any, **named: Any) -> Any:
            return super().read(replace(query, text=spec.query.text), *values, **named)

    return SourceOfSpec(url)


def flight_delay() -> ModelSpec:
    """Return the sample's declaration."""
    return read_spec(REPOSITORY_SPEC)


REPOSITORY_SPEC = Path(__file__).resolve().parents[2] / "include" / "models" / "flight_delay" / "spec.py"
