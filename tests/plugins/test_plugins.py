"""Partitions, retries and the notifier, as Airflow has them: see try_plugins.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
WHOLE_DAY = "2026-01-15 00:00 to 2026-01-16 00:00 UTC"


@pytest.fixture(scope="module")
def tried(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home, database = tmp_path_factory.mktemp("plugins"), new_database()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SLUICE_"))}
    env = kept | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins"))),
        "SLUICE_HOME": str(home),
        "SLUICE_DATABASE_URL": database,
    }
    command = [sys.executable, str(HERE / "try_plugins.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert reports, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return {**json.loads(reports[0].removeprefix("REPORT ")), "database": database}


@pytest.mark.parametrize(
    ("case", "partition"),
    [
        ("scheduled", "2026-02-03 00:00 to 2026-02-04 00:00 UTC"),
        ("backfilled", "2026-02-03 00:00 to 2026-02-04 00:00 UTC"),
        ("backfilled, with a day", "2026-02-03 00:00 to 2026-02-04 00:00 UTC"),
        ("by hand", "2026-02-28 00:00 to 2026-03-01 00:00 UTC"),
        ("by hand, with a day", WHOLE_DAY),
        ("by hand, as of a date", "2026-02-03 00:00 to 2026-02-04 00:00 UTC"),
        ("by hand, six o'clock, with a day", "2026-01-15 06:00 to 2026-01-16 06:00 UTC"),
        ("by hand, six o'clock", "2026-02-27 06:00 to 2026-02-28 06:00 UTC"),
        ("by hand, hourly, with a day", "2026-01-15 00:00 to 2026-01-15 01:00 UTC"),
        ("by hand, no schedule", "2026-02-28 00:00 to 2026-03-01 00:00 UTC"),
        ("by hand, no schedule, with a day", WHOLE_DAY),
    ],
)
def test_a_run_scores_the_interval_that_it_stands_for(tried: dict[str, Any], case: str, partition: str) -> None:
    assert tried["partitions"][case] == partition


@pytest.mark.parametrize(
    ("error", "action"),
    [
        ("UnknownVersionError", "FAIL"),
        ("NoChampionError", "FAIL"),
        ("ValidationFailedError", "FAIL"),
        ("ConversionError", "FAIL"),
        ("SpecError", "FAIL"),
        ("PromotionConflictError", "FAIL"),
        ("DatabaseError", "DEFAULT"),
        ("ReconciliationError", "FAIL"),
        ("TrainingBackendError", "FAIL"),
        ("ChallengerIncompatibleError", "FAIL"),
        ("SluiceError", "FAIL"),
        ("ServiceClientError", "DEFAULT"),
        ("ParityNotCheckedError", "DEFAULT"),
        ("OSError", "DEFAULT"),
    ],
)
def test_only_what_may_go_better_next_time_is_tried_again(tried: dict[str, Any], error: str, action: str) -> None:
    assert tried["retries"][error] == action


def test_a_model_never_promoted_skips_its_schedule_and_tells_a_person(tried: dict[str, Any]) -> None:
    assert tried["first champion"] == {"scheduled": "AirflowSkipException", "manual": "NoChampionError"}


def test_one_alert_for_a_failure_a_silent_death_a_timeout_and_a_death_of_what_was_cleared(
    tried: dict[str, Any],
) -> None:
    with psycopg.connect(tried["database"]) as connection:
        query = "SELECT run_id, task_id, try_number, error FROM sluice.alert WHERE model = 'iris' ORDER BY id"
        found = connection.execute(query).fetchall()
    assert [each[:3] for each in found] == [
        ("known", "train", 1),
        ("silent", "export", 3),
        ("known", None, None),
        ("known", "train", 2),
        ("replaced", "score", 1),
    ]
    _, silent, timeout, again, replaced = (error for *_, error in found)
    assert "No action is needed" in replaced
    assert "perhaps it was killed" in silent
    assert "dagrun_timeout" in timeout
    assert "perhaps it was killed" in again


def test_a_success_ends_only_what_its_own_run_has_opened_if_no_partition_is_known(tried: dict[str, Any]) -> None:
    with psycopg.connect(tried["database"]) as connection:
        query = "SELECT subjects, occurrences FROM sluice.incident WHERE model = 'pear' AND resolved_at IS NULL"
        assert connection.execute(query).fetchall() == [(["first"], 2)]
