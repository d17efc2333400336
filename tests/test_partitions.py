"""Only partitions of the schedule are scored; one that blocks them can be removed, with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include import pipeline
from include.errors import PartitionInUseError, PartitionOverlapError, SpecError, WrongPeriodError
from include.records import Period, ValidationReport
from include.resources import Resources
from include.schedule import parse_partition
from include.spec import ModelSpec
from tests.builders import ROWS_A_DAY, SPEC, declare_model, load_parcels, promote_first

DAYS = [Period.of_day(date(2026, 2, day)) for day in range(18, 24)]
SEVERAL = Period(start=DAYS[1].start, end=DAYS[3].end)
LATER = Period(start=DAYS[1].start + timedelta(hours=5), end=DAYS[2].end)


@pytest.fixture
def spec(engine: Engine, tmp_path: Path, resources: Resources) -> ModelSpec:
    load_parcels(engine)
    return promote_first(declare_model(tmp_path), resources)


def publish(spec: ModelSpec, period: Period, resources: Resources) -> None:
    """Publish any period, as a version of Sluice that did not check it, or a former schedule, has done."""
    rows = resources.features.count(spec.query, period)
    report = ValidationReport(
        model=spec.name, run_id="run", purpose="score", period=period, rows=rows, checks=(), version=1, mode="champion"
    )
    pipeline.score(spec, "run", period, resources, report=report)


@pytest.mark.parametrize("period", [SEVERAL, LATER, Period(start=DAYS[1].start, end=DAYS[1].end - timedelta(hours=1))])
def test_a_period_that_is_no_partition_is_refused_before_any_work(
    spec: ModelSpec, resources: Resources, period: Period
) -> None:
    expected = parse_partition(spec.score_schedule, period.start.isoformat())
    with pytest.raises(WrongPeriodError) as caught:
        pipeline.score(spec, "run", period, resources)
    assert f"expected one partition of its schedule, such as {expected}; found {period}." in str(caught.value)
    assert not caught.value.retryable
    with resources.engine.connect() as connection:
        for table in ("sluice.validation_result WHERE purpose = 'score'", "sluice.score_attempt"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert connection.scalar(text("SELECT to_regclass('scores.parcels')")) is None


@pytest.mark.parametrize("requested", ["2026-02-19", "2026-02-20", "2026-02-20T13:00"])
def test_one_that_blocks_others_is_removed_by_any_time_in_it_though_it_is_the_newest(
    spec: ModelSpec, resources: Resources, requested: str
) -> None:
    publish(spec, SEVERAL, resources)
    with pytest.raises(PartitionOverlapError):
        pipeline.score(spec, "run", DAYS[2], resources)
    period, removed = pipeline.drop_partition(spec, requested, "somebody", "three days at once", resources)
    assert (period, removed.row_count) == (SEVERAL, 3 * ROWS_A_DAY)
    assert removed.reason == "three days at once (removed by somebody)"
    assert resources.ledger.published_partitions("parcels") == ()
    for day in DAYS[1:4]:
        assert pipeline.score(spec, "run", day, resources).row_count == ROWS_A_DAY


def test_a_partition_of_the_schedule_that_look_ups_need_stays(spec: ModelSpec, resources: Resources) -> None:
    pipeline.score(spec, "run", DAYS[0], resources)
    with pytest.raises(PartitionInUseError, match="it is the newest partition"):
        pipeline.drop_partition(spec, "2026-02-18", "somebody", "it was wrong", resources)
    with pytest.raises(PartitionInUseError, match="it is not published"):
        pipeline.drop_partition(spec, "2026-02-19", "somebody", "it was wrong", resources)


def test_a_partition_of_a_former_schedule_can_be_scored_again_but_no_new_one_of_it(
    spec: ModelSpec, resources: Resources
) -> None:
    publish(spec, SEVERAL, resources)
    again = pipeline.score(spec, "again", SEVERAL, resources)
    assert (again.sequence, again.row_count) == (2, 3 * ROWS_A_DAY)
    with pytest.raises(WrongPeriodError):
        pipeline.score(spec, "run", Period(start=SEVERAL.end, end=SEVERAL.end + timedelta(days=3)), resources)


def test_a_day_of_a_declared_time_zone_is_scored_as_a_whole(
    engine: Engine, tmp_path: Path, resources: Resources
) -> None:
    load_parcels(engine)
    declared = SPEC.replace("score_schedule=None", 'score_schedule="@daily", score_timezone="Asia/Kathmandu"')
    spec = declare_model(tmp_path, spec=declared)
    promote_first(spec, resources)
    period = parse_partition(spec.score_schedule, "2026-02-20", timezone=spec.score_timezone)
    assert period.start == datetime(2026, 2, 19, 18, 15, tzinfo=UTC)
    assert pipeline.score(spec, "run", period, resources).row_count == ROWS_A_DAY
    with pytest.raises(WrongPeriodError):
        pipeline.score(spec, "run", DAYS[2], resources)
    (published,) = resources.ledger.published_partitions("parcels")
    assert (published.partition_start, published.partition_end) == (period.start, period.end)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('score_timezone="Europe/Berlyn"', "expected a name of the IANA time zones, such as Europe/Berlin"),
        ('score_timezone="../etc/passwd"', "expected a name of the IANA time zones"),
    ],
)
def test_a_time_zone_is_checked_at_declaration(tmp_path: Path, declared: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        declare_model(tmp_path, spec=SPEC.replace("score_schedule=None", f"score_schedule=None, {declared}"))
