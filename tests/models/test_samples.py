"""The declared samples and the skeleton: they read, they run, and what they learn is worth learning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include.errors import SpecError
from include.models import MODELS_DIR, declared_models, read_spec
from include.models.skeleton import write_skeleton
from include.records import Period
from include.spec import ModelSpec
from include.warehouse import open_engine
from include.warehouse.rows import bound_query
from include.warehouse.samples import create_skeleton_table, load_samples


def rows(engine: Engine, spec: ModelSpec, period: Period) -> list[dict[str, object]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(bound_query(spec.query, period), execution_options={"no_parameters": True})
        return [dict(row) for row in found.mappings()]


@pytest.fixture(scope="module")
def loaded(new_database: Callable[[], str]) -> Iterator[Engine]:
    engine = open_engine(new_database())
    load_samples(engine, dates="true", today=date(2013, 12, 31))
    yield engine
    engine.dispose()


def test_both_samples_are_declared_without_a_fault() -> None:
    declared = declared_models()
    assert declared.broken == ()
    assert {"flight_delay", "iris"} <= set(declared.specs)


def test_reading_the_declarations_loads_no_scikit_learn_numpy_or_pandas() -> None:
    code = (
        "import sys; from include.models import declared_models; assert len(declared_models().specs) >= 2;"
        "print(sorted({'numpy', 'pandas', 'sklearn', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_queries_give_the_declared_columns_and_no_other(loaded: Engine) -> None:
    for name in ("flight_delay", "iris"):
        spec = declared_models()[name]
        found = rows(loaded, spec, Period.of_day(date(2013, 12, 2)))
        declared = {spec.entity_key.column, spec.event_time, spec.target.column, *(f.name for f in spec.features)}
        assert set(found[0]) == declared


def test_a_days_rows_are_the_days_flights_whatever_the_period_around_it(loaded: Engine) -> None:
    spec = declared_models()["flight_delay"]
    day = Period.of_day(date(2013, 3, 8))
    alone = {row["flight_key"]: row for row in rows(loaded, spec, day)}
    week = Period(start=day.start - timedelta(days=3), end=day.end + timedelta(days=3))
    within = {row["flight_key"]: row for row in rows(loaded, spec, week) if day.start <= row["scheduled_at"] < day.end}
    assert alone == within
    with loaded.connect() as connection:
        statement = text("SELECT count(*) FROM source.flights WHERE scheduled_at >= :start AND scheduled_at < :end")
        assert connection.scalar(statement, {"start": day.start, "end": day.end}) == len(alone) > 900


def test_the_recent_delay_is_of_departures_that_had_left_an_hour_before(loaded: Engine) -> None:
    spec = declared_models()["flight_delay"]
    noon = datetime(2013, 3, 8, 17, tzinfo=UTC)
    found = rows(loaded, spec, Period(start=noon, end=noon + timedelta(hours=1)))
    with loaded.connect() as connection:
        expected = dict(
            connection.execute(
                text(
                    "SELECT origin, avg(least(greatest(dep_delay, -15), 120))::float8 FROM source.flights"
                    " WHERE scheduled_at + dep_delay * interval '1 minute' >= :from_"
                    " AND scheduled_at + dep_delay * interval '1 minute' < :until GROUP BY origin"
                ),
                {"from_": noon - timedelta(hours=4), "until": noon - timedelta(hours=1)},
            ).all()
        )
    assert {row["origin"]: row["recent_delay"] for row in found} == pytest.approx(expected)


def test_the_target_is_null_exactly_where_no_arrival_is_known(loaded: Engine) -> None:
    spec = declared_models()["flight_delay"]
    found = rows(loaded, spec, Period.of_day(date(2013, 2, 9)))  # a snowstorm: many were cancelled
    with loaded.connect() as connection:
        cancelled = set(
            connection.scalars(
                text(
                    "SELECT flight_key FROM source.flights WHERE arr_delay IS NULL"
                    " AND scheduled_at >= '2013-02-09+00' AND scheduled_at < '2013-02-10+00'"
                )
            )
        )
    assert {row["flight_key"] for row in found if row["arrival"] is None} == cancelled
    assert len(cancelled) > 50
    assert {row["arrival"] for row in found} == {None, "late", "on_time"}


def test_the_period_binds_as_literals_too_as_reading_in_bulk_needs(loaded: Engine) -> None:
    spec = declared_models()["flight_delay"]
    day = Period.of_day(date(2013, 3, 8))
    with loaded.connect() as connection:
        found = connection.exec_driver_sql(bound_query(spec.query, day).replace("%", "%%")).mappings().all()
    assert [dict(row) for row in found] == rows(loaded, spec, day)


def test_a_skeleton_reads_and_its_query_runs_on_its_own_table(engine: Engine, tmp_path: Path) -> None:
    folder = write_skeleton(tmp_path, "churn")
    create_skeleton_table(engine, "churn", today=date(2026, 11, 23))
    spec = read_spec(folder / "spec.py")
    assert spec.name == "churn"
    found = rows(engine, spec, Period.of_day(date(2026, 11, 20)))
    assert len(found) in (22, 23)
    spec.estimator(spec.columns)  # what it builds is scikit-learn's business


def test_the_template_itself_is_no_model() -> None:
    assert "_template" not in declared_models(MODELS_DIR).specs
    assert not (MODELS_DIR / "_template" / "spec.py").exists()


def test_a_skeleton_never_overwrites_a_folder(tmp_path: Path) -> None:
    write_skeleton(tmp_path, "churn")
    (tmp_path / "churn" / "spec.py").write_text("mine")
    with pytest.raises(SpecError, match="a name that no folder has yet"):
        write_skeleton(tmp_path, "churn")
    assert (tmp_path / "churn" / "spec.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["Churn", "1st", "", "a-b", "../x", "x" * 42, "é"])
def test_a_skeleton_refuses_a_name_that_is_no_identifier(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="expected a lower-case letter"):
        write_skeleton(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
