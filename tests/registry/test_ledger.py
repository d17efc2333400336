"""The ledger: append-only, one champion at most, moved only by compare-and-swap."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.errors import PromotionConflictError, UnknownVersionError
from include.records import Decision, Evaluation, GateResult, ModelVersion
from include.registry import Ledger, Manifest
from include.warehouse import open_engine

RACERS = 20


def register(ledger: Ledger, run_id: str, model: str = "parcels") -> ModelVersion:
    manifest = Manifest(
        model=model,
        files={},
        spec_digest="s" * 64,
        data_digest="d" * 64,
        code_digest="c" * 64,
        libraries={},
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    evaluation = Evaluation(model=model, rows=100, candidate={"roc_auc": 0.8}, baseline={"roc_auc": 0.7})
    return ledger.register(
        manifest, run_id, evaluation, Decision(accepted=True, gates=()), lambda version: f"a{version}"
    )


def promote(ledger: Ledger, version: int, sequence: int, actor: str = "ann", model: str = "parcels"):
    return ledger.promote(
        model, version, actor=actor, reason="because of the card", evidence_digest="e", expected_sequence=sequence
    )


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    ledger = Ledger(engine)
    for number in (1, 2):
        register(ledger, f"run {number}")
    return ledger


def test_versions_count_from_one_by_model(ledger: Ledger) -> None:
    other = register(ledger, "run 1", model="letters")
    assert [version.version for version in ledger.versions("parcels")] == [1, 2]
    assert other.version == 1


def test_a_run_registers_once(ledger: Ledger) -> None:
    assert register(ledger, "run 2") == ledger.version("parcels", 2)
    assert len(ledger.versions("parcels")) == 2


def test_a_failed_save_leaves_the_number_free(ledger: Ledger) -> None:
    def save(version: int) -> str:
        raise OSError("disk full")

    manifest = Manifest(
        model="parcels", files={}, spec_digest="", data_digest="", code_digest="", libraries={},
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip
    empty = Evaluation(model="parcels", rows=0, candidate={}, baseline={})
    with pytest.raises(OSError, match="disk full"):
        ledger.register(manifest, "run 3", empty, Decision(accepted=False, gates=()), save)
    assert register(ledger, "run 4").version == 3


def test_an_unknown_version_is_an_error_that_lists_those_that_exist(ledger: Ledger) -> None:
    with pytest.raises(UnknownVersionError, match=r"has no version 7; existing versions: 1, 2\."):
        promote(ledger, 7, 0)


def test_a_rollback_is_a_promotion_of_an_older_version(ledger: Ledger) -> None:
    for sequence, version in enumerate((1, 2, 1)):
        promote(ledger, version, sequence)
    moves = [(each.sequence, each.from_version, each.to_version) for each in ledger.promotions("parcels")]
    assert moves == [(1, None, 1), (2, 1, 2), (3, 2, 1)]
    champion = ledger.champion("parcels")
    assert champion is not None
    assert champion.to_version == 1


def test_a_lost_race_names_the_winner(ledger: Ledger) -> None:
    promote(ledger, 1, 0, actor="ann")
    with pytest.raises(PromotionConflictError, match=r"did not get sequence number 1: 'ann' promoted version 1 first"):
        promote(ledger, 2, 0, actor="bob")


def test_who_was_champion_at_a_time_is_answered_by_the_ledger_and_by_sql(ledger: Ledger, engine: Engine) -> None:
    first = promote(ledger, 1, 0)
    second = promote(ledger, 2, 1)
    between = first.promoted_at + (second.promoted_at - first.promoted_at) / 2
    answers = {first.promoted_at - timedelta(seconds=1): None, first.promoted_at: 1, between: 1, second.promoted_at: 2}
    query = text(
        "SELECT version FROM sluice.champion_history"
        " WHERE model = 'parcels' AND from_time <= :at AND (until_time IS NULL OR :at < until_time)"
    )
    for at, version in answers.items():
        found = ledger.champion_at("parcels", at)
        assert (found.to_version if found else None) == version
        with engine.connect() as connection:
            assert connection.execute(query, {"at": at}).scalar() == version


@pytest.mark.parametrize("table", ["model_version", "promotion", "partition_publication"])
@pytest.mark.parametrize(
    "statement", ["DELETE FROM sluice.{}", "UPDATE sluice.{} SET model = 'x'", "TRUNCATE sluice.{} CASCADE"]
)
def test_the_database_itself_refuses_to_change_what_was_written(
    ledger: Ledger, engine: Engine, table: str, statement: str
) -> None:
    promote(ledger, 1, 0)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement.format(table)))


def race(url: str, racer: int, rounds: int) -> list[tuple[int, int]]:
    """Promote `rounds` times as fast as one can; return the (sequence, version) of each race that was won."""
    engine = open_engine(url)
    ledger = Ledger(engine)
    won = []
    for _ in range(rounds):
        champion = ledger.champion("parcels")
        try:
            promotion = promote(ledger, 1 + racer % 2, champion.sequence if champion else 0, actor=f"racer {racer}")
            won.append((promotion.sequence, promotion.to_version))
        except PromotionConflictError:
            pass
    engine.dispose()
    return won


def test_of_20_racing_processes_exactly_one_wins_each_sequence_number(ledger: Ledger, database_url: str) -> None:
    rounds = 5
    with ProcessPoolExecutor(RACERS, mp_context=get_context("fork")) as pool:
        results = [pool.submit(race, database_url, racer, rounds) for racer in range(RACERS)]
        won = sorted(win for result in results for win in result.result())
    history = ledger.promotions("parcels")
    assert won == [(each.sequence, each.to_version) for each in history]
    assert [each.sequence for each in history] == list(range(1, len(history) + 1))
    assert all(before.to_version == after.from_version for before, after in pairwise(history))
    assert len(won) >= rounds


def test_the_evidence_digest_of_a_record_is_fixed_for_good() -> None:
    """Promotions hold these digests for years: what Sluice adds to the records must not change them."""
    gate = GateResult(gate="metric_threshold", metric="roc_auc", value=0.75, limit=0.7, passed=True, sentence="Yes.")
    version = ModelVersion(
        model="parcels", version=1, artifact_digest="a", spec_digest="s", data_digest="d", run_id="r",
        evaluation=Evaluation(model="parcels", rows=2, candidate={"roc_auc": 0.75}, baseline={"roc_auc": 0.5}),
        decision=Decision(accepted=True, gates=(gate,)), created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip
    assert version.evidence_digest == "d4fe4a6c38bee3b1dda44f9b88b23804741c5142e3074f66474e891a8c9c88f6"
    assert ModelVersion.from_plain(version.to_plain()).evidence_digest == version.evidence_digest
