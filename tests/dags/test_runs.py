"""The DAGs, run: each test looks at one thing that happened in `harness`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.rows import dict_row


def rows(harness: Any, query: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(harness.database, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()


def alerts(harness: Any, dag_id: str, run: str) -> list[dict[str, Any]]:
    run_id = harness.runs[run]["run_id"]
    return rows(harness, "SELECT * FROM sluice.alert WHERE dag_id = %s AND run_id = %s", dag_id, run_id)


def test_retraining_promotes_what_passes_the_gates_and_says_which_version(harness: Any) -> None:
    run = harness.runs["retrain"]
    assert run["state"] == "success"
    assert set(run["tasks"].values()) == {"success"}
    (event,) = run["events"]
    (champion,) = rows(harness, "SELECT * FROM sluice.champion WHERE model = 'apple'")
    (version,) = rows(harness, "SELECT * FROM sluice.model_version WHERE model = 'apple' AND version = 1")
    assert event == {
        "uri": "sluice://apple/champion",
        "version": champion["version"],
        "artifact_digest": version["artifact_digest"],
        "sequence": champion["sequence"],
        "card": f"/sluice/cards/apple/{champion['version']}",
    }
    assert run["links"] == {
        "validate": f"https://airflow.example/sluice/data_docs/apple/{quote(run['run_id'], safe='')}",
        "gate": f"https://airflow.example/sluice/cards/apple/{champion['version']}",
    }
    assert champion["actor"] == "dag_test", "the person who triggered the run"


def test_the_same_run_again_makes_no_second_version(harness: Any) -> None:
    assert harness.runs["retrain again"]["run_id"] == harness.runs["retrain"]["run_id"]
    assert harness.runs["retrain again"]["state"] == "success"
    run_id = harness.runs["retrain"]["run_id"]
    assert len(rows(harness, "SELECT 1 FROM sluice.model_version WHERE model = 'apple' AND run_id = %s", run_id)) == 1
    assert len(rows(harness, "SELECT 1 FROM sluice.promotion WHERE model = 'apple'")) == 1


def test_another_run_with_nothing_new_is_skipped_after_the_snapshot_and_is_no_failure(harness: Any) -> None:
    run = harness.runs["nothing new"]
    assert run["state"] == "success"
    assert {name for name, state in run["tasks"].items() if state == "success"} == {"validate"}
    assert {state for name, state in run["tasks"].items() if name != "validate"} == {"skipped"}
    assert run["events"] == []
    assert alerts(harness, "retrain_apple", "nothing new") == []


def test_while_promotions_are_held_a_retrain_registers_and_its_promotion_is_skipped(harness: Any) -> None:
    hold, held, lift = (harness.runs[name] for name in ("hold", "held", "lift"))
    assert hold["tasks"] == lift["tasks"] == {"hold_promotions": "success", "move_champion": "skipped"}
    assert (held["state"], held["tasks"]["gate"], held["tasks"]["promote"]) == ("success", "success", "skipped")
    assert held["events"] == []
    (champion,) = rows(harness, "SELECT version FROM sluice.champion WHERE model = 'apple'")
    assert champion["version"] == 1
    assert len(rows(harness, "SELECT 1 FROM sluice.model_version WHERE model = 'apple'")) == 2
    kept = rows(harness, "SELECT held, actor, reason FROM sluice.promotion_hold WHERE model = 'apple' ORDER BY id")
    assert [(each["held"], each["reason"]) for each in kept] == [
        (True, "the scores look strange"), (False, "they are explained"),
    ]  # fmt: skip
    assert alerts(harness, "retrain_apple", "held") == []


def test_a_form_that_moves_a_champion_names_a_version(harness: Any) -> None:
    run = harness.runs["nothing named"]
    assert run["tasks"] == {"move_champion": "failed", "hold_promotions": "skipped"}
    (alert,) = alerts(harness, "operate_model", "nothing named")
    assert "expected the version to make champion; found none" in alert["error"]
    assert alert["needs_nobody"]


def test_a_rejected_candidate_is_registered_and_its_promotion_skipped_not_failed(harness: Any) -> None:
    run = harness.runs["rejected"]
    assert (run["state"], run["tasks"]["gate"], run["tasks"]["promote"]) == ("success", "success", "skipped")
    assert run["events"] == []
    assert len(rows(harness, "SELECT 1 FROM sluice.model_version WHERE model = 'pear'")) == 1
    assert alerts(harness, "retrain_pear", "rejected") == []


def test_scoring_publishes_the_run_s_own_interval(harness: Any) -> None:
    (event,) = harness.runs["score"]["events"]
    (published,) = rows(
        harness, "SELECT * FROM sluice.published_partition WHERE model = 'apple' AND partition_start = '2026-02-28'"
    )
    assert event == {
        "uri": "sluice://apple/scores",
        "version": 1,
        "artifact_digest": published["artifact_digest"],
        "partition": "2026-02-28T00:00:00+00:00",
        "rows": 24,
    }
    assert harness.runs["score"]["keys"] == ["2026-02-28T00:00:00"], "one event, with the partition's key"


def test_a_service_that_is_not_there_leaves_the_partition_published_and_says_so(harness: Any) -> None:
    run = harness.runs["score"]
    assert (run["state"], run["tasks"]["publish"], run["tasks"]["check_online_parity"]) == (
        "success",
        "success",
        "skipped",
    )
    (alert,) = alerts(harness, "score_apple", "score")
    assert "parity with the service was not checked" in alert["error"]
    (check,) = rows(harness, "SELECT verdict, published FROM sluice.parity_check WHERE run_id = %s", run["run_id"])
    assert check == {"verdict": "not_checked", "published": True}


def test_scoring_by_hand_publishes_the_day_that_was_asked_for(harness: Any) -> None:
    (event,) = harness.runs["score by hand"]["events"]
    assert (event["partition"], event["rows"]) == ("2026-02-25T00:00:00+00:00", 24)
    assert len(rows(harness, "SELECT 1 FROM scores.apple WHERE partition_start = '2026-02-25'")) == 24


def test_a_person_moves_a_champion_and_the_ledger_keeps_the_reason(harness: Any) -> None:
    assert harness.runs["by hand"]["state"] == "success"
    (champion,) = rows(harness, "SELECT * FROM sluice.champion WHERE model = 'pear'")
    assert (champion["version"], champion["reason"]) == (1, "gates are wrong here")
    (event,) = harness.runs["by hand"]["events"]
    assert (event["uri"], event["version"]) == ("sluice://pear/champion", 1)


def test_an_unknown_version_fails_at_once_with_those_that_exist(harness: Any) -> None:
    run = harness.runs["unknown version"]
    assert run["tasks"] == {"move_champion": "failed", "hold_promotions": "skipped"}
    assert run["tries"]["move_champion"] == 1, "the same again would bring the same error: no retry"
    (alert,) = alerts(harness, "operate_model", "unknown version")
    assert alert["model"] == "apple"
    assert "has no version 99; existing versions: 1." in alert["error"]
    assert (alert["needs_nobody"], alert["incident_id"]) == (True, None), "recorded only: who typed it sees it"
    assert not [each for each in harness.messages if "operate_model" in each["message"]]


def test_a_bad_day_is_stopped_before_scoring_and_not_retried(harness: Any) -> None:
    run = harness.runs["bad day"]
    assert (run["state"], run["tasks"]) == (
        "failed",
        {
            "validate": "failed",
            "plan": "upstream_failed",
            "score": "upstream_failed",
            "publish": "upstream_failed",
            "check_online_parity": "upstream_failed",
            "late_rows": "upstream_failed",
            "shadow": "upstream_failed",
        },
    )
    assert run["tries"]["validate"] == 1
    published = rows(harness, "SELECT 1 FROM sluice.partition_publication WHERE partition_start = '2026-02-20'")
    assert published == []


def test_a_run_of_1999_fails_and_says_that_there_are_no_rows(harness: Any) -> None:
    for name in ("long ago", "retrain long ago"):
        run = harness.runs[name]
        assert (run["state"], run["tasks"]["validate"]) == ("failed", "failed"), (name, run)
    (alert,) = alerts(harness, "score_apple", "long ago")
    assert "partition 1999-02-28 00:00 to 1999-03-01 00:00 UTC: expected at least 1 row(s)" in alert["error"]


def test_a_failure_is_one_alert_with_model_dag_task_run_try_error_and_link(harness: Any) -> None:
    (alert,) = alerts(harness, "score_apple", "bad day")
    run_id = harness.runs["bad day"]["run_id"]
    assert (alert["model"], alert["task_id"], alert["try_number"]) == ("apple", "validate", 1)
    assert alert["error"].startswith("ValidationFailedError: the data of 'apple'")
    quoted = run_id.replace(":", "%3A").replace("+", "%2B")
    assert alert["log_url"] == (f"https://airflow.example/dags/score_apple/runs/{quoted}/tasks/validate?try_number=1")


def test_the_alert_is_a_line_of_the_log_too(harness: Any) -> None:
    lines = [json.loads(line) for line in (harness.home / "sluice/logs/alerts.log").read_text().splitlines()]
    run_id = harness.runs["bad day"]["run_id"]
    (line,) = [
        each
        for each in lines
        if each["event"] == "alert" and each["run_id"] == run_id and each["dag_id"] == "score_apple"
    ]
    assert (line["model"], line["task_id"], line["try_number"]) == ("apple", "validate", 1)
    assert line["error"].startswith("ValidationFailedError")
    assert line["log_url"]


def test_a_dead_channel_does_not_hide_the_alert_from_a_living_one(harness: Any) -> None:
    sent = [each for each in harness.messages if each["title"] == "Sluice [page] model apple: failed score"]
    (message,) = [each for each in sent if "contract" in each["message"]]  # others tell of runs without a champion
    for expected in (
        "What: score_apple.validate failed: ValidationFailedError: the data of 'apple'",
        "Affected: 2026-02-20T00:00Z",
        "Users get: version ",
        "Link: https://airflow.example/dags/score_apple/runs/manual__",
    ):
        assert expected in message["message"]
    (alert,) = alerts(harness, "score_apple", "bad day")
    query = "SELECT * FROM sluice.alert_message WHERE incident_id = %s AND action = 'trigger'"
    to = {each["channel"]: each for each in rows(harness, query, alert["incident_id"])}
    assert to["default"]["delivered_at"] is None, "it is away"
    assert to["tests"]["delivered_at"] is not None


@pytest.mark.parametrize("step", ["snapshot", "train", "export", "parity", "evaluate", "rehearse", "score"])
def test_each_step_sends_its_seconds_and_its_outcome(harness: Any, step: str) -> None:
    names = {packet.partition(":")[0] for packet in harness.packets}
    assert {f"sluice.apple.{step}.seconds", f"sluice.apple.{step}.ok"} <= names


def test_promotions_verdicts_and_rows_are_counted(harness: Any) -> None:
    assert {"sluice.apple.promotions:1|c", "sluice.apple.score.rows:24|c"} <= set(harness.packets)
    assert "sluice.pear.verdict.rejected:1|c" in harness.packets


def test_housekeeping_runs(harness: Any) -> None:
    run = harness.runs["housekeeping"]
    assert run["state"] == "success"
    assert run["tasks"]["shadow_requests"] == "success", "apple has a shadow and no challenger"
    assert harness.runs["score"]["tasks"]["shadow"] == "success"
