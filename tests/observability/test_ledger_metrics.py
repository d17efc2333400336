"""The ledger as Prometheus sees it, from a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sqlalchemy import Engine, text

from include.observability import database_metrics, disk_metrics, heartbeat_metrics, ledger_metrics, render
from include.observability.ledger_metrics import lateness
from include.records import Period
from include.spec import ModelSpec, ScoreStart
from tests.builders import declare_model
from tests.observability import ledger

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = datetime(2026, 3, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

Values = dict[tuple[str, str], float]


def day_before(days: int) -> Period:
    """Return the whole day that began `days` before today."""
    return Period(start=TODAY - days * DAY, end=TODAY - (days - 1) * DAY)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return declare_model(tmp_path, "parcels").model_copy(update={"score_schedule": "0 0 * * *"})


@pytest.fixture
def exported(engine: Engine, spec: ModelSpec) -> Callable[..., Values]:
    """Returns what is exported: values by name and model."""

    def values(now: datetime = NOW, **changes: Any) -> Values:
        specs = {"parcels": spec.model_copy(update=changes)}
        with engine.connect() as connection:
            metrics = ledger_metrics(connection, now, specs)
        return {(each.name, each.labels["model"]): each.value for metric in metrics for each in metric.samples}

    return values


# -- champions -------------------------------------------------------------------------------------


def test_a_declared_model_without_a_champion_has_version_0_and_is_not_late(exported: Callable[..., Values]) -> None:
    assert exported() == {
        ("sluice_model_info", "parcels"): 1,
        ("sluice_champion_version", "parcels"): 0,
        ("sluice_alerts_undelivered", ""): 0,
    }


def test_owner_and_task_of_a_model_are_labels_that_rules_can_join(engine: Engine, spec: ModelSpec) -> None:
    with engine.connect() as connection:
        (info, *_) = ledger_metrics(connection, NOW, {"parcels": spec})
    assert [each.labels for each in info.samples] == [{"model": "parcels", "owner": "tests", "task": "binary"}]


def test_a_champion_is_as_old_as_the_end_of_its_data(engine: Engine, exported: Callable[..., Values]) -> None:
    ledger.champion(engine, "parcels", 3, at=NOW - DAY, holdout=Period(start=NOW - 30 * DAY, end=NOW - 20 * DAY))
    found = exported()
    assert found["sluice_champion_version", "parcels"] == 3
    assert found["sluice_champion_promoted_timestamp_seconds", "parcels"] == (NOW - DAY).timestamp()
    assert found["sluice_champion_data_end_timestamp_seconds", "parcels"] == (NOW - 20 * DAY).timestamp()


def test_a_champion_without_a_holdout_is_as_old_as_its_registration(
    engine: Engine, exported: Callable[..., Values]
) -> None:
    ledger.register(engine, "parcels", 1, at=NOW - 9 * DAY)
    ledger.promote(engine, "parcels", 1, at=NOW)
    assert exported()["sluice_champion_data_end_timestamp_seconds", "parcels"] == (NOW - 9 * DAY).timestamp()


def test_a_deleted_model_that_is_declared_again_has_no_champion(
    engine: Engine, exported: Callable[..., Values]
) -> None:
    ledger.champion(engine, "parcels", 1, at=NOW - DAY)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO sluice.model_deletion VALUES ('parcels', 1, 1, 'me', 'no longer used')"))
    assert exported()["sluice_champion_version", "parcels"] == 0


def test_a_model_that_is_not_declared_is_not_exported(engine: Engine, exported: Callable[..., Values]) -> None:
    ledger.champion(engine, "former", 1, at=NOW - DAY)
    assert "former" not in {model for _, model in exported()}


# -- partitions ------------------------------------------------------------------------------------


def test_a_day_is_late_from_its_end_until_it_is_published(engine: Engine, exported: Callable[..., Values]) -> None:
    ledger.champion(engine, "parcels", 1, at=NOW - 9 * DAY)
    ledger.publish(engine, "parcels", 1, day_before(2), at=NOW)
    found = exported()
    assert found["sluice_newest_partition_end_timestamp_seconds", "parcels"] == (TODAY - DAY).timestamp()
    assert found["sluice_partition_lateness_seconds", "parcels"] == (12 * HOUR).total_seconds()
    ledger.publish(engine, "parcels", 1, day_before(1), at=NOW)
    assert exported()["sluice_partition_lateness_seconds", "parcels"] == 0


def test_lateness_is_that_of_the_first_partition_that_is_missing_after_the_newest(
    engine: Engine, exported: Callable[..., Values]
) -> None:
    ledger.champion(engine, "parcels", 1, at=NOW - 9 * DAY)
    ledger.publish(engine, "parcels", 1, day_before(4), at=NOW)
    assert exported()["sluice_partition_lateness_seconds", "parcels"] == (2 * DAY + 12 * HOUR).total_seconds()


def test_a_removed_partition_is_not_the_newest(engine: Engine, exported: Callable[..., Values]) -> None:
    ledger.champion(engine, "parcels", 1, at=NOW - 9 * DAY)
    for days in (2, 1):
        ledger.publish(engine, "parcels", 1, day_before(days), at=NOW)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sluice.partition_removal VALUES ('parcels', :start, 1, 1, 'published by mistake')"),
            {"start": day_before(1).start},
        )
    assert exported()["sluice_partition_lateness_seconds", "parcels"] == (12 * HOUR).total_seconds()


def test_the_first_partition_of_a_model_is_the_one_in_which_it_got_a_champion(
    engine: Engine, exported: Callable[..., Values]
) -> None:
    ledger.champion(engine, "parcels", 1, at=TODAY - 6 * HOUR)
    assert exported(now=TODAY - HOUR)["sluice_partition_lateness_seconds", "parcels"] == 0
    assert exported(now=TODAY + HOUR)["sluice_partition_lateness_seconds", "parcels"] == HOUR.total_seconds()


def test_a_model_without_a_schedule_is_never_late(engine: Engine, exported: Callable[..., Values]) -> None:
    ledger.champion(engine, "parcels", 1, at=NOW - 9 * DAY)
    assert ("sluice_partition_lateness_seconds", "parcels") not in exported(score_schedule=None)


def test_a_partition_is_due_when_its_run_may_wait_no_longer(spec: ModelSpec) -> None:
    waiting = spec.model_copy(update={"score_start": ScoreStart(contract_holds=True, deadline=6 * HOUR)})
    assert lateness(waiting, TODAY - DAY, TODAY + 5 * HOUR) == timedelta(0)
    assert lateness(waiting, TODAY - DAY, TODAY + 7 * HOUR) == HOUR


def test_a_day_ends_by_the_clock_of_the_schedule(spec: ModelSpec) -> None:
    berlin = spec.model_copy(update={"score_timezone": "Europe/Berlin"})
    midnight = datetime(2026, 3, 28, 23, tzinfo=UTC)  # of the day on which the clock is put forward: 23 hours
    assert lateness(berlin, midnight, midnight + 23 * HOUR) == timedelta(0)
    assert lateness(berlin, midnight, midnight + 24 * HOUR) == HOUR


# -- alerts and refused artifacts ------------------------------------------------------------------


def test_alerts_that_did_not_reach_every_channel_are_counted_by_model(
    engine: Engine, exported: Callable[..., Values]
) -> None:
    for age in (HOUR, 2 * HOUR, 8 * DAY):
        ledger.alert(engine, "parcels", at=NOW - age)
    ledger.alert(engine, None, at=NOW - HOUR)
    ledger.alert(engine, "iris", at=NOW - HOUR, delivered=True)
    found = {model: value for (name, model), value in exported().items() if name == "sluice_alerts_undelivered"}
    assert found == {"parcels": 2, "": 1}


def test_a_champion_is_refused_while_the_service_says_so(engine: Engine, exported: Callable[..., Values]) -> None:
    def refused() -> float:
        return exported()["sluice_champion_refused", "parcels"]

    ledger.champion(engine, "parcels", 1, at=NOW - DAY)
    ledger.alert(engine, "parcels", at=NOW - 2 * HOUR, dag_id="model_service", run_id="version 1 could not be loaded")
    assert refused() == 0  # two hours ago; it would have repeated it
    ledger.alert(engine, "parcels", at=NOW - HOUR / 2, dag_id="model_service", run_id="version 1 could not be loaded")
    assert refused() == 1
    ledger.champion(engine, "parcels", 2, at=NOW)
    assert refused() == 0


# -- disk, heartbeat, page -------------------------------------------------------------------------


def test_the_disk_is_that_of_the_home(tmp_path: Path) -> None:
    free, size = (metric.samples[0].value for metric in disk_metrics(tmp_path))
    assert 0 < free <= size


def test_a_home_that_cannot_be_read_has_no_value_and_stops_nothing(tmp_path: Path) -> None:
    assert [metric.samples for metric in disk_metrics(tmp_path / "gone")] == [[], []]


def test_the_page_is_what_the_parsers_of_prometheus_read(engine: Engine, spec: ModelSpec, tmp_path: Path) -> None:
    with engine.connect() as connection:
        metrics = ledger_metrics(connection, NOW, {"parcels": spec})
    metrics += [*disk_metrics(tmp_path), *heartbeat_metrics(NOW), *database_metrics(reachable=True)]
    page, kind = render(metrics)
    assert kind.startswith("text/plain")
    assert {each.name for each in parse_text(page.decode())} == {each.name for each in metrics}
    page, kind = render(metrics, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    found = {each.name: each for each in parse_openmetrics(page.decode())}
    assert found["sluice_watch_heartbeat_timestamp_seconds"].samples[0].value == NOW.timestamp()
