"""The samples: loaded once, moved by whole weeks, with keys that name one row each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from include.errors import SourceTableError
from include.warehouse import open_engine
from include.warehouse.samples import create_skeleton_table, load_samples, shift_weeks

TODAY = date(2026, 11, 23)
COUNTS = {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336_776, "iris": 150}


@pytest.fixture(scope="module")
def loaded(new_database: Callable[[], str]) -> Iterator[Engine]:
    """A database with the samples as they were in 2013."""
    engine = open_engine(new_database())
    assert load_samples(engine, dates="true", today=TODAY) == COUNTS
    yield engine
    engine.dispose()


def one(engine: Engine, statement: str) -> tuple[object, ...]:
    with engine.connect() as connection:
        return tuple(connection.execute(text(statement)).one())


def test_true_dates_are_those_of_2013_with_scheduled_departures_in_utc(loaded: Engine) -> None:
    first, last = one(loaded, "SELECT min(scheduled_at), max(scheduled_at) FROM source.flights")
    assert first == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert last == datetime(2014, 1, 1, 4, 59, tzinfo=UTC)


def test_utc_and_the_clock_in_new_york_agree_all_year(loaded: Engine) -> None:
    statement = (
        "SELECT count(*) FROM source.flights WHERE scheduled_at AT TIME ZONE 'America/New_York' <> scheduled_local"
    )
    assert one(loaded, statement) == (0,)


def test_each_key_names_one_flight_and_says_which(loaded: Engine) -> None:
    assert one(loaded, "SELECT count(DISTINCT flight_key) FROM source.flights") == (336_776,)
    assert one(
        loaded,
        "SELECT carrier, flight, origin, dest, arr_delay FROM source.flights"
        " WHERE flight_key = 'UA1545-EWR-20130101T0515'",
    ) == ("UA", 1545, "EWR", "IAH", 11)


def test_cancelled_and_diverted_flights_have_no_arrival_delay(loaded: Engine) -> None:
    assert one(loaded, "SELECT count(*) FROM source.flights WHERE arr_delay IS NULL") == (9430,)


def test_every_flower_has_a_day_of_its_own_and_any_month_has_all_three_species(loaded: Engine) -> None:
    assert one(loaded, "SELECT count(DISTINCT observed_at::date), max(observed_at::date) FROM source.iris") == (
        150,
        date(2013, 12, 31),
    )
    statement = "SELECT count(DISTINCT species) FROM source.iris WHERE observed_at >= '2013-12-02'"
    assert one(loaded, statement) == (3,)


def test_loading_again_loads_nothing(loaded: Engine) -> None:
    before = one(loaded, "SELECT max(loaded_at), sum(rows) FROM source.sample_load")
    assert load_samples(loaded, dates="true", today=TODAY) == COUNTS
    assert one(loaded, "SELECT max(loaded_at), sum(rows) FROM source.sample_load") == before


def test_a_shift_that_no_longer_reaches_today_is_made_anew_and_said(
    loaded: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with loaded.begin() as connection:
        connection.execute(text("CREATE VIEW source.mine AS SELECT count(*) AS flights FROM source.flights"))
    with caplog.at_level(logging.INFO):
        assert load_samples(loaded, dates="shifted", today=TODAY) == COUNTS
    assert "loading it again, moved by 673" in caplog.text
    assert one(loaded, "SELECT max(scheduled_local)::date FROM source.flights") == (date(2026, 11, 24),)
    assert one(loaded, "SELECT flights FROM source.mine") == (336_776,), "a user's view outlives the new load"
    moved = one(loaded, "SELECT scheduled_at, scheduled_local FROM source.flights ORDER BY scheduled_at LIMIT 1")
    assert moved == (
        datetime(2013, 1, 1, 10, 15, tzinfo=UTC) + timedelta(weeks=673),
        datetime(2013, 1, 1, 5, 15) + timedelta(weeks=673),  # noqa: DTZ001 (the clock in New York)
    )


def test_the_shift_is_the_fewest_whole_weeks_that_reach_today() -> None:
    for days in range(400):
        today = date(2026, 1, 1) + timedelta(days=days)
        last = date(2013, 12, 31) + timedelta(weeks=shift_weeks(today))
        assert today <= last < today + timedelta(days=7)


OTHERS = {
    "weather": "CREATE TABLE source.weather AS SELECT 1 AS temp",
    "iris": "CREATE VIEW source.iris AS SELECT 1 AS temp",
    "flights": "CREATE TABLE source.flights (flight_key text) PARTITION BY LIST (flight_key)",
}


@pytest.mark.parametrize("name", OTHERS)
def test_no_sample_is_loaded_where_one_table_of_that_name_is_somebody_s(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS source"))
        connection.execute(text(OTHERS[name]))
    with pytest.raises(SourceTableError, match=rf"expected that source\.{name} do not exist, or are tables of"):
        load_samples(engine, dates="true", today=TODAY)
    relations = (
        "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'source'::regnamespace AND relkind <> 'i'"
    )
    assert set(str(one(engine, relations)[0]).split()) == {name, "sample_load"}


def test_a_table_in_the_place_of_a_loaded_one_is_not_emptied(engine: Engine) -> None:
    load_samples(engine, dates="true", today=TODAY)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE source.iris"))
        connection.execute(text("CREATE TABLE source.iris AS SELECT 7 AS mine"))
    with pytest.raises(SourceTableError, match=r"source\.iris"):
        load_samples(engine, dates="shifted", today=TODAY)
    assert one(engine, "SELECT mine FROM source.iris") == (7,)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE source.iris"))
    assert load_samples(engine, dates="true", today=TODAY) == COUNTS


def test_the_skeletons_table_is_made_once_and_always_the_same(engine: Engine) -> None:
    assert create_skeleton_table(engine, "churn", today=TODAY) == 2000
    digest = "SELECT md5(string_agg(churn::text, '' ORDER BY row_key)) FROM source.churn"
    before = one(engine, digest)
    with pytest.raises(SourceTableError, match=r"source\.churn: expected no table or view of this name"):
        create_skeleton_table(engine, "churn", today=TODAY + timedelta(days=1))
    assert one(engine, digest) == before
    first, last = one(engine, "SELECT min(observed_at), max(observed_at) FROM source.churn")
    assert first == datetime(2026, 8, 26, tzinfo=UTC)
    assert datetime(2026, 11, 23, tzinfo=UTC) < last < datetime(2026, 11, 24, tzinfo=UTC)  # type: ignore[operator]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE source.churn"))
    create_skeleton_table(engine, "churn", today=TODAY)
    assert one(engine, digest) == before
