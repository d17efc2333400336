"""Rows out of PostgreSQL: the period is bound, the columns have Sluice's types, batches stream."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from include.records import Period
from include.spec import ModelSpec
from include.warehouse.rows import open_rows, rows_query
from tests.builders import QUERY, ROWS_A_DAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))


@pytest.fixture
def spec(engine: Engine, tmp_path: Path) -> ModelSpec:
    load_parcels(engine)
    return declare_model(tmp_path)


def read(url: str, query: str) -> pa.Table:
    with open_rows(url, query) as rows:
        return rows.read_all()


def test_a_period_holds_its_start_and_not_its_end(spec: ModelSpec, database_url: str) -> None:
    rows = read(database_url, rows_query(spec.query, DAY, labelled=False))
    times = rows.column("sent_at").to_pylist()
    assert len(times) == ROWS_A_DAY
    assert min(times) == DAY.start
    assert max(times) < DAY.end


def test_rows_to_score_come_without_the_label_and_a_part_of_them_if_asked(spec: ModelSpec, database_url: str) -> None:
    rows = read(database_url, rows_query(spec.query, DAY, labelled=False))
    assert "outcome" not in rows.column_names
    fragile = read(database_url, rows_query(spec.query, DAY, labelled=False, only='"fragile"'))
    assert 0 < fragile.num_rows < rows.num_rows
    assert set(fragile.column("fragile").to_pylist()) == {True}


def test_rows_to_train_on_have_a_label_and_come_in_the_order_of_time(
    spec: ModelSpec, database_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE source.parcels SET outcome = NULL WHERE fragile")
    rows = read(database_url, rows_query(spec.query, DAY, labelled=True))
    times = rows.column("sent_at").to_pylist()
    assert times == sorted(times)
    assert rows.num_rows == ROWS_A_DAY * 4 // 5


def test_numbers_of_any_database_type_come_as_doubles(tmp_path: Path, database_url: str, engine: Engine) -> None:
    load_parcels(engine)
    query = QUERY.replace("weight,", "weight::numeric(10, 3) AS weight,").replace(
        "distance,", "distance::int AS distance,"
    )
    spec = declare_model(tmp_path, query=query)
    schema = read(database_url, rows_query(spec.query, DAY, labelled=False)).schema
    assert schema.field("weight").type == schema.field("distance").type == pa.float64()


def test_a_parameter_can_be_calculated_with(tmp_path: Path, database_url: str, engine: Engine) -> None:
    load_parcels(engine)
    query = QUERY.replace(">= :period_start", ">= :period_start - interval '1 day'")
    spec = declare_model(tmp_path, query=query)
    assert read(database_url, rows_query(spec.query, DAY, labelled=False)).num_rows == 2 * ROWS_A_DAY


def test_casts_and_percent_signs_of_a_query_are_left_alone(tmp_path: Path, database_url: str, engine: Engine) -> None:
    load_parcels(engine)
    query = QUERY.rstrip() + " AND carrier::text LIKE 'b%'"
    spec = declare_model(tmp_path, query=query)
    assert set(read(database_url, rows_query(spec.query, DAY, labelled=False)).column("carrier").to_pylist()) == {"bee"}
