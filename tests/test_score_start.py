"""When a scheduled run starts: what can be declared, the clock, names of partitions, and a look at the rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from include import pipeline
from include.errors import EmptyPartitionError, SpecError, ValidationFailedError
from include.records import Period
from include.resources import Resources
from include.schedule import later_by_clock, match_name, parse_partition
from include.spec import ModelSpec, ScoreStart
from tests.builders import ROWS_A_DAY, SPEC, declare_model, load_parcels, promote_first

BERLIN = "Europe/Berlin"
DAY = Period.of_day(date(2026, 2, 20))
HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("delay=timedelta(hours=-1)", "expected a duration of zero or more"),
        ("delay=timedelta(days=8)", "delay must be at most 7 days"),
        ("contract_holds=True", "needs a deadline"),
        ("asset='parcels_loaded'", "needs a deadline"),
        ("deadline=timedelta(hours=6)", "deadline is for asset or contract_holds"),
        ("delay=timedelta(hours=6), poll_interval=timedelta(minutes=5)", "poll_interval is for asset or"),
        ("contract_holds=True, deadline=timedelta(days=8)", "deadline must be at most 7 days"),
        ("contract_holds=True, deadline=timedelta(hours=6), delay=timedelta(hours=6)", "deadline must be after delay"),
        ("contract_holds=True, deadline=timedelta(hours=6), poll_interval=timedelta(seconds=59)", "from 0:01:00 to"),
        ("contract_holds=True, deadline=timedelta(minutes=4)", "the time between delay and deadline, 0:04:00"),
        ("asset='', deadline=timedelta(hours=6)", "expected the name or URI of an Airflow asset"),
        ("asset=' parcels', deadline=timedelta(hours=6)", "without spaces at its ends"),
        ("asset='airflow://parcels', deadline=timedelta(hours=6)", "airflow:// is reserved"),
        ("asset='s3://me:secret@bucket/x', deadline=timedelta(hours=6)", "without a password"),
        ("asset='s3://[', deadline=timedelta(hours=6)", "a valid URI"),
        ("asset='parcels_scores', deadline=timedelta(hours=6)", "which this model's own scores update"),
        ("asset='sluice://parcels/scores', deadline=timedelta(hours=6)", "which this model's own scores update"),
    ],
)
def test_a_start_that_cannot_be_is_refused_at_declaration(tmp_path: Path, start: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        declare(tmp_path, start)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [("None", "score_start is for scheduled runs"), ('"*/5 * * * *"', "at most 60 partitions may wait")],
)
def test_a_schedule_and_a_start_must_fit(tmp_path: Path, schedule: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        declare(tmp_path, "delay=timedelta(hours=6)", schedule)


@pytest.mark.parametrize(
    ("schedule", "longest", "runs"),
    [
        ("0 0 * * *", timedelta(0), 0),
        ("0 0 * * *", 6 * HOURS, 1),
        ("0 0 * * *", timedelta(days=7), 7),
        ("0 * * * *", 6 * HOURS, 6),
        ("0,5 0 * * *", 6 * HOURS, 2),
        ("0 8-17 * * 1-5", 3 * HOURS, 3),
        ("0 0 1 * *", timedelta(days=7), 1),
        ("* * * * *", timedelta(days=7), 61),
    ],
)
def test_as_many_runs_wait_as_intervals_end_within_the_wait(schedule: str, longest: timedelta, runs: int) -> None:
    assert ScoreStart(delay=longest).waiting_runs(schedule) == runs


@pytest.mark.parametrize("day", [date(2025, 3, 30), date(2025, 10, 26), date(2025, 6, 1)])
def test_six_hours_after_midnight_it_is_six_also_where_the_clock_is_changed(day: date) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(BERLIN))
    later = later_by_clock(midnight, 6 * HOURS, timezone=BERLIN).astimezone(ZoneInfo(BERLIN))
    assert (later.date(), later.hour, later.minute) == (day, 6, 0)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001  # made aware below
    st.timedeltas(timedelta(0), timedelta(days=7)),
    st.sampled_from(["UTC", BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_a_duration_by_the_clock_never_leads_back_and_differs_by_the_change_of_the_clock_only(
    moment: datetime, duration: timedelta, timezone: str
) -> None:
    moment = moment.replace(tzinfo=UTC)
    later = later_by_clock(moment, duration, timezone=timezone)
    assert later >= moment
    assert abs(later - (moment + duration)) <= HOURS
    assert later_by_clock(moment, timedelta(0), timezone=timezone) == moment


@pytest.mark.parametrize(
    ("schedule", "zone", "named", "match"),
    [
        ("0 0 * * *", "UTC", "2026-02-20", "whole"),
        ("0 0 * * *", "UTC", "2026-02-19", "other"),
        ("0 0 * * *", "UTC", "2026-02-20T00:00:00", "start"),
        ("0 0 * * *", "UTC", "2026-02-20T01:00:00", "other"),
        ("0 0 * * *", BERLIN, "2026-02-20", "whole"),
        ("0 0 * * *", BERLIN, "2026-02-20T00:00:00", "start"),
        ("0 0 * * *", BERLIN, "2026-02-19T23:00:00+00:00", "start"),
        ("0 0 * * *", BERLIN, "2026-02-19T23:00:00", "other"),
        ("0 6 * * *", "UTC", "2026-02-20", "start"),
        ("0 * * * *", "UTC", "2026-02-20", "whole"),
        ("0 * * * *", "UTC", "2026-02-20T00:00:00", "start"),
        ("0 0 * * 5", "UTC", "2026-02-20", "start"),
        ("0 0 * * 5", "UTC", "2026-02-21", "other"),
        ("0 0 * * *", "UTC", "europe", "other"),
        ("0 0 * * *", "UTC", "9999-12-31", "other"),
    ],
)
def test_a_name_means_the_whole_partition_its_start_or_another(
    schedule: str, zone: str, named: str, match: str
) -> None:
    period = parse_partition(schedule, "2026-02-20", timezone=zone)
    assert match_name(named, period, schedule, timezone=zone) == match


@pytest.fixture
def spec(engine: Engine, tmp_path: Path, resources: Resources) -> ModelSpec:
    load_parcels(engine)
    return promote_first(declare_model(tmp_path), resources)


@pytest.fixture
def stored(engine: Engine) -> Iterator[None]:
    """Check that a look stores nothing."""

    def count() -> int | None:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM sluice.validation_result WHERE purpose = 'score'"))

    before = count()
    yield
    assert count() == before
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'sluice_scratch'")) == 0


FAULTS = {
    "no rows": "DELETE FROM source.parcels WHERE {day}",
    "a null": "UPDATE source.parcels SET weight = NULL WHERE {day}",
    "an unknown category": "UPDATE source.parcels SET carrier = 'dog' WHERE {day}",
    "beyond the range": "UPDATE source.parcels SET weight = 101 WHERE {day} AND carrier = 'ant'",
    "a key twice": "INSERT INTO source.parcels SELECT * FROM source.parcels WHERE {day}",
    "no key": "UPDATE source.parcels SET parcel_id = NULL WHERE {day}",
    "a type": "ALTER TABLE source.parcels ALTER fragile TYPE text",
    "no table": "DROP TABLE source.parcels",
    "no column": "ALTER TABLE source.parcels RENAME weight TO mass",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_finds_the_rules_that_the_validation_finds(
    spec: ModelSpec, engine: Engine, resources: Resources, fault: str
) -> None:
    assert pipeline.find_broken_rules(spec, DAY, resources) == ()
    day = f"sent_at >= '{DAY.start.isoformat()}' AND sent_at < '{DAY.end.isoformat()}'"
    with engine.begin() as connection:
        connection.execute(text(FAULTS[fault].format(day=day)))
    found = pipeline.find_broken_rules(spec, DAY, resources)
    with pytest.raises(ValidationFailedError) as caught:
        pipeline.validate_partition(spec, "run", DAY, resources)
    assert found
    if fault == "no rows":
        assert isinstance(caught.value, EmptyPartitionError)
    else:
        assert found == caught.value.reasons


@pytest.mark.usefixtures("stored")
def test_a_look_stores_nothing_and_leaves_no_table(spec: ModelSpec, engine: Engine, resources: Resources) -> None:
    assert pipeline.find_broken_rules(spec, DAY, resources) == ()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM source.parcels WHERE sent_at >= :start"), {"start": DAY.start})
    (sentence,) = pipeline.find_broken_rules(spec, DAY, resources)
    assert sentence == "table: expected 1 to 10,000 rows; found 0."


def test_the_number_of_rows_is_compared_with_both_bounds(engine: Engine, tmp_path: Path, resources: Resources) -> None:
    load_parcels(engine)
    for bounds, broken in (
        ((ROWS_A_DAY, ROWS_A_DAY), False), ((ROWS_A_DAY + 1, 99), True), ((0, ROWS_A_DAY - 1), True),
    ):  # fmt: skip
        spec = declare_model(tmp_path, spec=SPEC.replace("(1, 10_000)", str(bounds)))
        if resources.ledger.champion(spec.name) is None:
            promote_first(spec, resources)
        assert bool(pipeline.find_broken_rules(spec, DAY, resources)) is broken


def declare(folder: Path, start: str, schedule: str = '"@daily"') -> ModelSpec:
    declared = f"score_schedule={schedule}, score_start=ScoreStart({start})"
    return declare_model(folder, spec=SPEC.replace("score_schedule=None", declared))
