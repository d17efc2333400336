"""The DAGs, exactly: which there are, what follows on what, and what every one of them has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.linting import lint

RETRAIN = {
    "validate": ["snapshot"],
    "snapshot": ["train"],
    "train": ["export"],
    "export": ["parity"],
    "parity": ["evaluate", "gate", "rehearse"],
    "evaluate": ["gate", "rehearse"],
    "rehearse": ["gate"],
    "gate": ["promote"],
    "promote": [],
}
SCORE = {
    "validate": ["plan"],
    "plan": ["publish", "score"],
    "score": ["publish"],
    "publish": ["check_online_parity", "late_rows"],
    "check_online_parity": [],
    "late_rows": [],
}
EXPECTED = {
    "housekeeping": {"clean_staging": [], "remove_old_work": [], "deliver_alerts": [], "drop_expired_partitions": []},
    "operate_model": {"hold_promotions": [], "move_champion": []},
    "retrain_apple": RETRAIN,
    "retrain_pear": RETRAIN,
    "score_apple": SCORE,
    "score_pear": SCORE,
}


def test_two_declared_models_make_exactly_these_dags_and_edges(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    found = {
        dag_id: {task_id: task["downstream"] for task_id, task in dag["tasks"].items()}
        for dag_id, dag in parsed["dags"].items()
    }
    assert found == EXPECTED


def test_a_declared_shadow_scores_partitions_and_sampled_requests(
    parse: Callable[[Path], dict[str, Any]], declare: Callable[..., Path], tmp_path: Path
) -> None:
    declare(tmp_path, "apple")
    declare(tmp_path, "pear", shadow="Shadow(max_label_flips=0.1)")
    result = parse(tmp_path)
    assert result["errors"] == {}
    tasks = {dag_id: {*dag["tasks"]} for dag_id, dag in result["dags"].items()}
    assert tasks["housekeeping"] == {*EXPECTED["housekeeping"], "shadow_requests"}
    assert (tasks["score_apple"], tasks["score_pear"]) == ({*SCORE}, {*SCORE, "shadow"})


def test_a_declared_approval_is_a_task_whose_form_is_not_that_of_the_run(
    parse: Callable[[Path], dict[str, Any]], declare: Callable[..., Path], tmp_path: Path
) -> None:
    """Airflow hands the fields of the DAG's form to every task, and the declaration could not be imported."""
    declare(tmp_path, "apple", more="\napproval=ApprovalPolicy(approvers=('ada',), timeout=timedelta(days=2)),")
    result = parse(tmp_path)
    assert result["errors"] == {}
    assert {*result["dags"]["retrain_apple"]["tasks"]} == {*RETRAIN, "approve"}


def test_days_of_a_time_zone_are_scored_at_a_later_hour(
    parse: Callable[[Path], dict[str, Any]], declare: Callable[..., Path], tmp_path: Path
) -> None:
    declare(
        tmp_path, "apple", more='\nscore_timezone="Europe/Berlin", score_start=ScoreStart(delay=timedelta(hours=30)),'
    )
    result = parse(tmp_path)
    assert result["errors"] == {}
    dag = result["dags"]["score_apple"]
    assert {name: task["downstream"] for name, task in dag["tasks"].items()} == {**SCORE, "wait": ["validate"]}
    assert (dag["schedule"], dag["timezone"]) == ("0 0 * * *", "Europe/Berlin")
    assert dag["dagrun_timeout"] > 30 * 3600 + dag["tasks"]["validate"]["timeout"]
    assert "`0 0 * * *` (Europe/Berlin)." in dag["doc"]
    assert "0. **wait**: a scheduled run starts 30 hours after the end of its partition. Runs by hand" in dag["doc"]
    assert dag["max_active_runs"] == 4 + 2, "beside those that are scored, two may wait"
    assert "wait" not in result["dags"]["retrain_apple"]["tasks"]


def test_a_start_by_an_asset_and_the_contract_is_a_task_before_the_validation(
    parse: Callable[[Path], dict[str, Any]], declare: Callable[..., Path], tmp_path: Path
) -> None:
    start = 'ScoreStart(asset="apples", contract_holds=True, deadline=timedelta(hours=6))'
    declare(tmp_path, "apple", more=f"\nscore_start={start},")
    result = parse(tmp_path)
    assert result["errors"] == {}
    dag = result["dags"]["score_apple"]
    assert dag["tasks"]["wait"]["downstream"] == ["validate"]
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert dag["dagrun_timeout"] == 3 * 3600 + 6 * 3600
    assert (
        "0. **wait**: a scheduled run starts when an event of the asset `apples` says that the source is complete, and "
        "when the rows of the partition meet the data contract. It looks every 5 minutes, until 6 hours after the end "
        "of the partition. Without the event, it then fails. The rows are then validated for good."
    ) in dag["doc"]


@pytest.mark.parametrize("dag_id", EXPECTED)
def test_every_dag_is_limited_documented_tagged_and_on_from_the_start(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]
    assert "sluice" in dag["tags"]
    assert dag["doc"].startswith("# ")
    assert "{" not in dag["doc"], "a placeholder was not filled in"
    assert 1 <= dag["max_active_runs"] <= 4
    assert dag["dagrun_timeout"] > max(task["timeout"] for task in dag["tasks"].values())
    assert dag["catchup"] is False
    assert dag["paused"] is False
    assert [each["of_run"] for each in dag["failure_callback"]] == [True]


@pytest.mark.parametrize("dag_id", EXPECTED)
def test_every_task_is_owned_retried_with_backoff_limited_and_alerts(parsed: dict[str, Any], dag_id: str) -> None:
    for task in parsed["dags"][dag_id]["tasks"].values():
        assert task["owner"] not in ("", "airflow")
        assert task["retries"] >= 1
        assert task["backoff"] > 1
        assert task["policy"] == "ExceptionRetryPolicy"
        assert task["timeout"]
        (callback,) = task["failure_callback"]
        assert (callback["type"], callback["of_run"]) == ("SluiceNotifier", False)


def test_what_works_in_the_database_waits_in_the_pool_and_neither_a_rollback_nor_an_alert_does(
    parsed: dict[str, Any],
) -> None:
    outside = {
        task_id
        for dag in parsed["dags"].values()
        for task_id, task in dag["tasks"].items()
        if task["pool"] != "sluice_database"
    }
    assert outside == {"move_champion", "hold_promotions", "deliver_alerts", "remove_old_work"}


def test_a_models_dags_carry_its_owner_tags_channels_and_schedules(parsed: dict[str, Any]) -> None:
    retrain, score = parsed["dags"]["retrain_apple"], parsed["dags"]["score_apple"]
    assert retrain["tags"] == ["apple", "retrain", "sluice", "tiny"]
    assert retrain["tasks"]["validate"]["owner"] == "tests"
    assert retrain["tasks"]["validate"]["failure_callback"][0] == {
        "type": "SluiceNotifier", "model": "apple", "channels": ["tests"], "of_run": False,
    }  # fmt: skip
    assert retrain["schedule"] == "0 3 * * *"
    assert (score["timetable"], score["schedule"]) == ("CronDataIntervalTimetable", "0 0 * * *")


def test_one_retraining_of_a_model_at_a_time(parsed: dict[str, Any]) -> None:
    assert parsed["dags"]["retrain_apple"]["max_active_runs"] == 1
    assert parsed["dags"]["operate_model"]["max_active_runs"] == 1


def test_promotions_and_publications_are_assets(parsed: dict[str, Any]) -> None:
    outlets = {
        f"{dag_id}.{task_id}": task["outlets"]
        for dag_id, dag in parsed["dags"].items()
        for task_id, task in dag["tasks"].items()
        if task["outlets"]
    }
    assert outlets == {
        "operate_model.move_champion": ["moved_champion"],
        "retrain_apple.promote": ["sluice://apple/champion"],
        "retrain_pear.promote": ["sluice://pear/champion"],
        "score_apple.publish": ["sluice://apple/scores"],
        "score_pear.publish": ["sluice://pear/scores"],
    }


def test_the_page_of_a_model_tells_features_gates_and_the_way_back(parsed: dict[str, Any]) -> None:
    page = parsed["dags"]["retrain_apple"]["doc"]
    assert "| `size` | numeric | 0 to 100 cm | not allowed |" in page
    assert "- roc_auc is at least 0.6\n- the holdout has at least 10 labelled rows" in page
    assert "Training: 20 days. Then a gap of nothing. Then the holdout: 10 days" in page
    assert "Trigger `operate_model` with model `apple`" in page


def test_the_form_asks_for_a_declared_model_a_version_and_a_reason(parsed: dict[str, Any]) -> None:
    form = parsed["dags"]["operate_model"]["params"]
    assert form["model"]["enum"] == ["apple", "pear"]
    assert form["action"]["enum"] == ["move the champion", "hold promotions", "lift the hold"]
    assert (form["version"]["type"], form["version"]["minimum"]) == (["null", "integer"], 1)
    assert (form["reason"]["type"], form["reason"]["minLength"]) == ("string", 10)


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    heavy = (
        "great_expectations",
        "pandas",
        "sklearn",
        "scipy",
        "skl2onnx",
        "onnxruntime",
        "pyarrow",
        "apprise",
        "joblib",
    )
    loaded = {name.partition(".")[0] for name in parsed["imported"]}
    assert loaded.isdisjoint(heavy)
    ours = {name.split(".")[1] for name in parsed["imported"] if name.startswith("include.")}
    assert ours <= {"errors", "flows", "models", "reasons", "records", "settings", "spec"}


def test_a_broken_declaration_is_named_and_hides_no_other_model(
    parse: Callable[[Path], dict[str, Any]], declare: Callable[..., Path], tmp_path: Path
) -> None:
    declare(tmp_path, "apple")
    broken = declare(tmp_path, "pear", high=-5) / "spec.py"
    result = parse(tmp_path)
    assert set(result["dags"]) == {"housekeeping", "operate_model", "retrain_apple", "score_apple"}
    assert set(result["errors"]) == {"declarations.py"}
    message = result["errors"]["declarations.py"]
    assert str(lint(broken).errors[0]) in message, "the text of `sluice check`"
    assert f"{broken}:" in message
    assert "feature 'size', field 'features.0.maximum': maximum must be above minimum" in message
    assert "-5" in message
    assert "pear" in result["dags"]["operate_model"]["params"]["model"]["enum"], "its champion can still be rolled back"
