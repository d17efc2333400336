"""Which version scored a row, trained on which data, promoted by whom, on what evidence: one view."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text

from tests.scoring.conftest import DAY, Harness


def promote(harness: Harness, sequence: int, version: int, actor: str, at: datetime | None = None) -> None:
    with harness.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sluice.promotion"
                " (model, sequence, from_version, to_version, actor, reason, evidence_digest, promoted_at)"
                " VALUES ('parcels', :sequence, NULL, :version, :actor, 'to score by it', 'evidence ' || :actor,"
                " coalesce(:at, clock_timestamp()))"
            ),
            {"sequence": sequence, "version": version, "actor": actor, "at": at},
        )


def test_a_row_leads_to_its_version_its_data_and_the_promotion_before_it(harness: Harness) -> None:
    promote(harness, 1, 1, "ann")
    promote(harness, 2, 2, "bob")
    promote(harness, 3, 1, "cem")
    harness.score(2)
    promote(harness, 4, 1, "too late")
    found = harness.read(
        "SELECT DISTINCT lineage.version, data_digest, trained_by_run, promotion_sequence, promoted_by, evidence_digest"
        " FROM scores.parcels JOIN sluice.score_lineage AS lineage"
        " ON model = 'parcels' AND lineage.partition_start = parcels.partition_start"
    )
    assert found == [(1, "d", "run 1", 3, "cem", "evidence cem")]


def test_a_version_that_was_never_promoted_has_no_promotion_but_its_data(harness: Harness) -> None:
    harness.score(2, version=2)
    assert harness.read("SELECT version, data_digest, promoted_by FROM sluice.score_lineage") == [(2, "d", None)]


def test_a_backfill_by_the_champion_of_then_names_the_promotion_of_then_and_not_a_later_one(
    harness: Harness,
) -> None:
    promote(harness, 1, 1, "ann", DAY.end - timedelta(days=2))
    promote(harness, 2, 2, "bob", DAY.end + timedelta(days=1))
    promote(harness, 3, 1, "cem", DAY.end + timedelta(days=2))
    harness.fill(2)
    plan = harness.plan(2, mode="champion_then")
    harness.publish(plan, [harness.stage(plan)])
    found = harness.read("SELECT mode, version, promotion_sequence, promoted_by FROM sluice.score_lineage")
    assert found == [("champion_then", 1, 1, "ann")]
