"""A model's rows come from one place, which may be another than the warehouse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from include import pipeline
from include.errors import DatabaseError, SourceQueryError
from include.records import Period
from include.resources import Resources
from include.spec import ModelSpec
from include.warehouse.feature_source import FeatureSource, PostgresFeatureSource
from tests.builders import QUERY, ROWS_A_DAY, TODAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))


@pytest.fixture
def spec(engine: Engine, tmp_path: Path) -> ModelSpec:
    load_parcels(engine)
    return declare_model(tmp_path)


def test_rows_are_counted_and_some_are_read_by_their_keys(spec: ModelSpec, database_url: str) -> None:
    source = PostgresFeatureSource(database_url)
    assert source.count(spec.query, DAY) == ROWS_A_DAY
    with source.read(spec.query, DAY, labelled=False) as rows:
        keys = rows.read_all().column("parcel_id").to_pylist()
    with source.read(spec.query, DAY, labelled=False, keys=keys[3:5]) as rows:
        assert sorted(rows.read_all().column("parcel_id").to_pylist()) == sorted(keys[3:5])


def test_the_columns_of_a_query_are_known_without_a_row(
    spec: ModelSpec, database_url: str, engine: Engine, tmp_path: Path
) -> None:
    source = PostgresFeatureSource(database_url)
    assert source.columns(spec.query) == {
        "parcel_id": "text", "sent_at": "timestamp with time zone", "weight": "double precision",
        "distance": "double precision", "carrier": "text", "fragile": "boolean", "outcome": "text",
    }  # fmt: skip
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE DOMAIN source.name AS varchar(9); CREATE DOMAIN source.carrier AS source.name"
        )
    query = """
        SELECT 'a'::varchar(3) AS v, 'a'::char(3) AS c, 1.5::numeric(9, 2) AS n, 1::smallint AS s, now() AS "at",
            'a'::source.carrier AS d, 50 % 3 AS r, '{}' AS t, point(1, 2) AS p, weight / 0 AS never
        FROM source.{name} WHERE sent_at >= :period_start AND sent_at < :period_end;
    """
    assert source.columns(declare_model(tmp_path, query=query).query) == {
        "v": "varchar", "c": "char", "n": "numeric", "s": "smallint", "at": "timestamp with time zone",
        "d": "varchar", "r": "integer", "t": "text", "p": "point", "never": "double precision",
    }  # fmt: skip


def test_a_query_that_does_not_run_is_told_from_a_database_that_does_not_answer(
    spec: ModelSpec, database_url: str, tmp_path: Path
) -> None:
    broken = declare_model(tmp_path, query=QUERY.replace("weight", "mass")).query
    with pytest.raises(SourceQueryError, match='found: column "mass" does not exist') as error:
        PostgresFeatureSource(database_url).columns(broken)
    assert not error.value.retryable
    with pytest.raises(DatabaseError) as failed:
        PostgresFeatureSource("postgresql://nobody@127.0.0.1:1/nowhere").columns(spec.query)
    assert failed.value.retryable


def test_a_period_becomes_a_table_of_the_columns_of_the_query(
    spec: ModelSpec, database_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        PostgresFeatureSource(database_url).materialize(spec.query, DAY, connection, 'public."a day"')
        found = connection.exec_driver_sql('SELECT count(*), count(parcel_id) FROM public."a day"').one()
    assert tuple(found) == (ROWS_A_DAY, ROWS_A_DAY)


class Memory:
    """Rows that were read from somewhere else before."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @contextmanager
    def read(self, *_: Any, labelled: bool) -> Iterator[pa.RecordBatchReader]:
        assert labelled
        yield self.table.to_reader()

    def count(self, *_: Any) -> int:
        return self.table.num_rows

    def columns(self, *_: Any) -> dict[str, str]:
        raise NotImplementedError

    def materialize(self, *_: Any) -> None:
        raise NotImplementedError


def test_a_snapshot_of_the_same_rows_from_another_source_is_the_same(spec: ModelSpec, resources: Resources) -> None:
    first = pipeline.take_snapshot(spec, TODAY, resources)
    with resources.features.read(spec.query, first.split.whole, labelled=True) as rows:
        other: FeatureSource = Memory(rows.read_all())
    with resources.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE source.parcels")
    assert pipeline.take_snapshot(spec, TODAY, dataclasses.replace(resources, features=other)).digest == first.digest
