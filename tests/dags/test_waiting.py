"""What a scheduled run decides that waits to start, with a real database; tests/e2e/private has the real scheduler."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from include.resources import open_resources
from include.settings import Settings
from include.warehouse import open_engine
from tests.builders import SPEC, declare_model, load_parcels, retrain
from tests.dags.conftest import environment, reported
from tests.past import promoted


@pytest.fixture(scope="module")
def looks(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of looks_of_runs.py."""
    home, url = tmp_path_factory.mktemp("waiting"), new_database()
    engine = open_engine(url)
    load_parcels(engine)
    spec = declare_model(home / "models", spec=SPEC.replace("score_schedule=None", 'score_schedule="@daily"'))
    with open_resources(Settings(home=home / "sluice", database_url=url)) as resources:
        retrain(spec, "train", resources)
    promoted(engine, "parcels", 1, 1, datetime(2026, 2, 1, tzinfo=UTC))
    engine.dispose()
    return reported("looks_of_runs.py", env=environment(home, home / "models", SLUICE_DATABASE_URL=url))


def test_a_delay_is_one_look_at_its_end_and_only_for_scheduled_runs(looks: dict[str, Any]) -> None:
    assert looks["delay"] == {
        "scheduled 0": "again 6:00:00", "scheduled 5.5": "again 6:00:00", "scheduled 6": "start",
        "manual 0": "start", "manual 5.5": "start", "manual 6": "start",
        "backfill 0": "start", "backfill 5.5": "start", "backfill 6": "start",
    }  # fmt: skip


def test_a_delay_follows_the_clock_of_the_time_zone(looks: dict[str, Any]) -> None:
    assert looks["clock changed"] == ["2025-03-30 06:00", "2025-10-26 06:00"]


def test_rows_that_meet_the_contract_start_the_run_before_the_deadline(looks: dict[str, Any]) -> None:
    assert looks["rows"] == {"at once": "start", "both, too early": "again 2:00:00", "long after": "start"}


def test_rows_that_break_it_are_looked_at_until_the_deadline_and_never_after(looks: dict[str, Any]) -> None:
    found = {name: each for name, each in looks["no rows"].items() if not name.startswith("validated")}
    assert found == {
        "at once": "again 0:06:00",
        "near the deadline": "again 6:00:00",
        "at the deadline": "deadline",
        "long after": "deadline",
        "by hand": "start",
        "backfill": "start",
        "both, too early": "again 2:00:00",
        "both, due": "again 2:05:00",
    }


def test_at_the_deadline_the_contract_s_sentence_says_that_the_run_waited(looks: dict[str, Any]) -> None:
    error = looks["no rows"]["validated at the deadline"]
    assert error.startswith("ContractDeadlineError: model 'parcels', partition 2026-02-20 00:00 to 2026-02-21 00:00")
    assert "expected at least 1 row(s) to score; found none in the source" in error
    assert "waited for the contract until its deadline, 2026-02-21 06:00 UTC" in error
    assert error.endswith("When the source is complete, clear the task 'validate'.")
    for name in ("validated without a wait", "validated, another start"):
        assert looks["no rows"][name].startswith("EmptyPartitionError: ")
        assert "deadline" not in looks["no rows"][name]


def test_a_table_that_is_not_there_yet_is_waited_for(looks: dict[str, Any]) -> None:
    assert looks["no table"] == "again 0:06:00"


def test_a_model_without_a_champion_does_not_wait_and_its_run_is_skipped(looks: dict[str, Any]) -> None:
    assert looks["no champion"] == ["start", "AirflowSkipException"]


def test_an_event_counts_for_the_partition_that_it_names_or_after_the_end(looks: dict[str, Any]) -> None:
    assert looks["events"] == {
        "after": True,
        "at the end": True,
        "before": False,
        "of the day, before": True,
        "of the start, before": False,
        "of the start, after": True,
        "of another day, after": False,
        "of something else, after": False,
        "extra, another day": False,
        "extra, this day": True,
        "extra without a name": True,
        "extra before the key": True,
    }
