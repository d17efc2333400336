"""The ML Test Score: what evidence shows counts one, what a person signed half, the rest nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from include import pipeline
from include.cli import main
from include.errors import NoChampionError, SluiceError
from include.evidence.scorecard import ITEMS, ScoreCard, ScoreCardInput, score_card
from include.records import DataChecks, GateResult, Importance
from tests.audit.conftest import Life
from tests.evidence.packs import pack_of


def inputs(**changes) -> ScoreCardInput:
    fields = {"model": "parcels", "version": 7, "pack": None, "promotions": (), "validations": {}}
    return ScoreCardInput(**(fields | changes))


def points(card: ScoreCard) -> dict[str, float]:
    return {each.id: each.points for each in card.results}


def test_there_are_28_tests_seven_a_section() -> None:
    assert len({item.id for item in ITEMS}) == 28
    assert set(Counter(item.section for item in ITEMS).values()) == {7}


def test_with_no_evidence_nothing_is_shown() -> None:
    card = score_card(inputs(), {})
    assert {each.proof for each in card.results} == {"not shown"}
    assert card.score == 0


def test_the_score_is_the_least_of_the_four_sums() -> None:
    attested = {item.id: "said" for item in ITEMS if item.section != "monitoring"} | {"monitoring-4": "said"}
    card = score_card(inputs(), attested)
    assert card.sums == {"data": 3.5, "model": 3.5, "infrastructure": 3.5, "monitoring": 0.5}
    assert card.score == 0.5


def test_evidence_counts_one_even_where_somebody_attests_it_too() -> None:
    shown = score_card(inputs(pack=pack_of()), {"infrastructure-1": "by hand"})
    result = next(each for each in shown.results if each.id == "infrastructure-1")
    assert (result.points, "reproducibility" in result.proof) == (1.0, True)


def gate(kind: str, passed: bool = True) -> GateResult:
    return GateResult(gate=kind, metric="m", value=1, limit=1, passed=passed, sentence=f"{kind} it is.")


@pytest.mark.parametrize(
    ("test", "kinds"),
    [
        ("data-4", ["forbidden_columns"]), ("model-6", ["slice_threshold"]), ("model-6", ["no_inferior_slice"]),
        ("model-7", ["fairness_gap"]), ("monitoring-6", ["latency", "memory"]),
    ],
)  # fmt: skip
def test_a_gate_shows_a_test_only_when_all_of_its_kind_passed(test: str, kinds: list[str]) -> None:
    def with_gates(*gates: GateResult) -> float:
        pack = pack_of()
        pack = pack.model_copy(update={"decision": pack.decision.model_copy(update={"gates": gates})})
        return points(score_card(inputs(pack=pack), {}))[test]

    passed = [gate(kind) for kind in kinds]
    assert with_gates(*passed) == 1
    assert with_gates(*passed[1:]) == 0
    assert with_gates(*passed, gate(kinds[0], passed=False)) == 0


def test_a_margin_that_lets_the_simple_model_win_shows_nothing() -> None:
    def with_margin(margin: float) -> float:
        pack = pack_of()
        declared = ({"kind": "better_than_baseline", "metric": "roc_auc", "margin": margin},)
        declaration = pack.declaration.model_copy(update={"gates": declared})
        return points(score_card(inputs(pack=pack.model_copy(update={"declaration": declaration})), {}))["model-5"]

    assert with_margin(0.0) == 1
    assert with_margin(-0.01) == 0


def test_one_feature_that_does_not_help_and_the_features_are_not_all_beneficial() -> None:
    pack = pack_of()
    assert points(score_card(inputs(pack=pack), {}))["data-2"] == 1
    idle = (*pack.card.importances[:-1], Importance(feature="weekend", mean=0.001, spread=0.002))
    card = pack.card.model_copy(update={"importances": idle})
    assert points(score_card(inputs(pack=pack.model_copy(update={"card": card})), {}))["data-2"] == 0


def test_features_that_differ_as_served_are_a_skew() -> None:
    def seen(**found) -> float:
        pack = pack_of()
        evaluation = pack.evaluation.model_copy(update={"data": DataChecks(**found)})
        return points(score_card(inputs(pack=pack.model_copy(update={"evaluation": evaluation})), {}))["monitoring-3"]

    assert seen(served_rows=979) == 1
    assert seen(served_rows=979, served_differences={"distance": 0.01}) == 0
    assert seen(served_rows=0, served_note="the query failed") == 0


# -- a model that lived --------------------------------------------------------------------------------


def test_a_model_s_score_comes_from_its_ledger_and_its_signed_evidence(life: Life) -> None:
    card, faults = pipeline.ml_test_score("parcels", life.resources)
    assert faults == ()
    shown = {each.id: each.proof for each in card.results if each.points == 1}
    assert "sluice.validation_result, purpose train, run run 2" in shown["data-1"]
    assert "reproducibility" in shown["infrastructure-1"]
    assert "sequence 3: rolled back to version 1 by ann" in shown["infrastructure-7"]
    assert "purpose score, run score 1" in shown["monitoring-2"]
    assert "model-5" not in shown, "the margin of the declared gate is below zero"
    assert "infrastructure-6" not in shown, "nothing was rehearsed"


def test_a_statement_counts_half_while_its_signature_holds(life: Life, monkeypatch, capsys) -> None:
    settings = life.resources.settings
    for name in ("home", "database_url", "models_dir"):
        monkeypatch.setenv(f"SLUICE_{name.upper()}", str(getattr(settings, name)))
    assert main(["attest", "parcels", "model-3", "--statement", "grid of 40, wiki page Parcels"]) == 0
    assert "Signed and stored" in capsys.readouterr().out
    assert points(pipeline.ml_test_score("parcels", life.resources)[0])["model-3"] == 0.5
    assert main(["ml-test-score", "parcels"]) == 0
    said = capsys.readouterr().out
    assert "0.5  model-3" in said
    assert "grid of 40, wiki page Parcels" in said
    assert "not shown" in said

    with life.resources.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sluice.attestation (model, test, statement, actor, attested_at, signature)"
                " SELECT model, test, 'it was never done', actor, attested_at, signature FROM sluice.attestation"
            )
        )
    card, faults = pipeline.ml_test_score("parcels", life.resources)
    assert points(card)["model-3"] == 0
    assert "the statement on model-3 of 'parcels'" in faults[0]
    assert main(["ml-test-score", "parcels"]) == 0
    assert "not counted: the statement on model-3" in capsys.readouterr().out


def test_a_statement_says_something_about_a_test_that_there_is(life: Life) -> None:
    with pytest.raises(SluiceError, match=r"has no test 'model-9'; its tests are: data-1"):
        pipeline.attest("parcels", "model-9", "done on Monday", "ann", life.resources)
    with pytest.raises(
        SluiceError, match="--statement: expected a reason of at least 10 visible characters; found none"
    ):
        pipeline.attest("parcels", "model-1", " \u00a0 ", "ann", life.resources)


@pytest.mark.parametrize("statement", ["UPDATE sluice.attestation SET actor = 'eve'", "DELETE FROM sluice.attestation"])
def test_a_statement_is_kept_for_good(life: Life, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), life.resources.engine.begin() as connection:
        connection.execute(text(statement))


def test_a_model_without_a_champion_has_no_score(life: Life) -> None:
    with pytest.raises(NoChampionError):
        pipeline.ml_test_score("nobody", life.resources)
