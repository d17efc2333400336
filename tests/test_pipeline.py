"""The whole pipeline without Airflow: from rows to a champion and a score table, and what must stop on the way."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from include import pipeline
from include.errors import CandidateRejectedError, NoChampionError, PromotionConflictError, ValidationFailedError
from include.evidence import read_pack
from include.flows import RETRAIN
from include.inference import RowEncoder, load_scorer
from include.records import ModelVersion, Period
from include.resources import Resources
from include.spec import MetricThreshold, ModelSpec
from tests.builders import ROWS_A_DAY, TODAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))


@pytest.fixture
def spec(resources: Resources) -> ModelSpec:
    load_parcels(resources.engine)
    return declare_model(resources.settings.home / "models")


def retrain(spec: ModelSpec, run_id: str, resources: Resources) -> ModelVersion:
    """Every step up to the gates but the rehearsal, with each record sent through JSON as between tasks."""
    values: dict[str, Any] = {"run_id": run_id, "as_of": TODAY, "requested_by": None, "rehearsal": None, "again": True}
    for step in RETRAIN[: [each.name for each in RETRAIN].index("gate") + 1]:
        if step.declared(spec) and step.name != "rehearse":
            made = pipeline.run_step(step, spec, values, resources)
            values[step.gives] = step.record.from_plain(made.to_plain())
    return values["version"]


def score(spec: ModelSpec, run_id: str, resources: Resources, period: Period = DAY):
    return pipeline.score(spec, run_id, period, resources)


def change_source(resources: Resources, statement: str) -> None:
    with resources.engine.begin() as connection:
        connection.execute(text(statement))


def scalar(resources: Resources, query: str) -> object:
    with resources.engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def test_from_rows_to_a_champion_to_scores(spec: ModelSpec, resources: Resources) -> None:
    version = retrain(spec, "run 1", resources)
    assert version.decision.accepted
    assert {"roc_auc", "log_loss"} <= set(version.evaluation.candidate) == set(version.evaluation.baseline)
    assert pipeline.promote_candidate(spec, version, "ann", resources).sequence == 1

    published = score(spec, "score 1", resources)
    assert published.row_count == ROWS_A_DAY == scalar(resources, "SELECT count(*) FROM scores.parcels")
    assert published.version == version.version


def test_a_version_s_evidence_and_card_are_signed_files_of_its_artifact(spec: ModelSpec, resources: Resources) -> None:
    version = retrain(spec, "run 1", resources)
    artifact = resources.artifacts.open(spec.name, version.version, version.artifact_digest)
    pack = read_pack(artifact.read("evidence.json"))
    assert (pack.version, pack.run_id) == (version.version, "run 1")
    assert (pack.evaluation, pack.decision) == (version.evaluation, version.decision)
    assert pack.files == {name: artifact.manifest.files[name] for name in pack.files}
    assert artifact.manifest.files.keys() - pack.files.keys() == {"evidence.json", "card.html"}
    assert f"{spec.name}, version 1" in artifact.read("card.html").decode()


def test_a_score_row_holds_the_number_that_the_served_artifact_answers(spec: ModelSpec, resources: Resources) -> None:
    version = retrain(spec, "run 1", resources)
    pipeline.promote_candidate(spec, version, "ann", resources)
    score(spec, "score 1", resources)
    scorer = load_scorer(resources.artifacts.open(spec.name, version.version, version.artifact_digest))
    query = text(
        "SELECT weight, distance, carrier, fragile, p_late"
        " FROM source.parcels JOIN scores.parcels ON entity_key = parcel_id"
    )
    with resources.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        stored = row.pop("p_late")
        assert scorer.score(RowEncoder(scorer.signature).encode([row]))[0, 1] == stored


def test_the_same_data_give_the_same_artifact_and_the_same_run_no_second_version(
    spec: ModelSpec, resources: Resources
) -> None:
    first = retrain(spec, "run 1", resources)
    assert retrain(spec, "run 1", resources) == first
    second = retrain(spec, "run 2", resources)
    assert second.version == 2
    assert second.data_digest == first.data_digest
    onnx = [Path(resources.artifacts.locate(spec.name, n)) / "model.onnx" for n in (1, 2)]
    assert onnx[0].read_bytes() == onnx[1].read_bytes()


def test_a_challenger_is_compared_with_the_champion_on_the_same_rows(spec: ModelSpec, resources: Resources) -> None:
    pipeline.promote_candidate(spec, retrain(spec, "run 1", resources), "ann", resources)
    challenger = retrain(spec, "run 2", resources).evaluation
    assert challenger.champion_version == 1
    assert challenger.champion == challenger.candidate


def test_a_rejected_candidate_is_registered_with_its_reasons_and_not_promoted(
    spec: ModelSpec, resources: Resources
) -> None:
    strict = spec.model_copy(update={"gates": (MetricThreshold(metric="roc_auc", minimum=0.9999),)})
    version = retrain(strict, "run 1", resources)
    assert not version.decision.accepted
    with pytest.raises(CandidateRejectedError, match=r"roc_auc: candidate 0\.\d+; limit at least 0\.9999: failed"):
        pipeline.promote_candidate(strict, version, "ann", resources)
    assert resources.ledger.champion(spec.name) is None
    assert resources.ledger.version(spec.name, 1).decision.reasons == version.decision.reasons


def test_evidence_against_a_champion_that_is_gone_promotes_nothing(spec: ModelSpec, resources: Resources) -> None:
    one, two = retrain(spec, "run 1", resources), retrain(spec, "run 2", resources)
    pipeline.promote_candidate(spec, one, "ann", resources)
    with pytest.raises(PromotionConflictError, match="'ann' promoted version 1 first"):
        pipeline.promote_candidate(spec, two, "bob", resources)


def test_a_person_promotes_and_rolls_back_and_scores_follow(spec: ModelSpec, resources: Resources) -> None:
    for run in ("run 1", "run 2"):
        retrain(spec, run, resources)
    for version in (1, 2, 1):
        pipeline.move_champion(spec.name, version, "ann", "because of the card", resources)
    assert score(spec, "score 1", resources).version == 1
    assert [each.to_version for each in resources.ledger.promotions(spec.name)] == [1, 2, 1]


def test_without_a_champion_nothing_is_scored(spec: ModelSpec, resources: Resources) -> None:
    with pytest.raises(NoChampionError, match="Run its DAG retrain_parcels"):
        score(spec, "score 1", resources)


BAD_BATCHES = {
    "null keys": ("UPDATE source.parcels SET parcel_id = NULL WHERE {day}", "parcel_id"),
    "an unknown carrier": ("UPDATE source.parcels SET carrier = 'dodo' WHERE {day}", "carrier"),
    "a negative distance": ("UPDATE source.parcels SET distance = -1 WHERE {day}", "distance"),
    "an empty day": ("DELETE FROM source.parcels WHERE {day}", "rows"),
}


@pytest.mark.parametrize("planted", BAD_BATCHES)
def test_a_bad_batch_is_stopped_with_reasons_stored_and_the_champion_unmoved(
    spec: ModelSpec, resources: Resources, planted: str
) -> None:
    pipeline.promote_candidate(spec, retrain(spec, "run 1", resources), "ann", resources)
    before = score(spec, "score 1", resources)
    statement, about = BAD_BATCHES[planted]
    change_source(
        resources, statement.format(day=f"sent_at >= '{DAY.start.isoformat()}' AND sent_at < '{DAY.end.isoformat()}'")
    )
    with pytest.raises(ValidationFailedError, match=about):
        score(spec, "score 2", resources)
    failed = "SELECT count(*) FROM sluice.validation_result WHERE NOT passed AND run_id = 'score 2'"
    assert scalar(resources, failed) >= 1
    champion = resources.ledger.champion(spec.name)
    assert champion is not None
    assert champion.sequence == 1
    assert resources.ledger.published_partitions(spec.name) == (before,)


def test_a_bad_row_stops_a_run_before_training(spec: ModelSpec, resources: Resources) -> None:
    change_source(resources, "UPDATE source.parcels SET weight = -1 WHERE parcel_id = 'parcel-002000'")
    with pytest.raises(ValidationFailedError, match="weight"):
        pipeline.validate_training_data(spec, "run 1", TODAY, resources)
    offending = "SELECT offending_keys[1] FROM sluice.validation_result WHERE NOT passed"
    assert scalar(resources, offending) == "parcel-002000"


def test_rows_that_come_after_validation_are_not_published_unseen(spec: ModelSpec, resources: Resources) -> None:
    pipeline.promote_candidate(spec, retrain(spec, "run 1", resources), "ann", resources)
    report = pipeline.validate_partition(spec, "score 1", DAY, resources)
    moment = (DAY.start + timedelta(hours=1)).isoformat()
    change_source(resources, f"INSERT INTO source.parcels VALUES ('late', '{moment}', 1, 1, 'ant', true, NULL)")
    with pytest.raises(Exception, match="expected the 40 rows that were validated; scored 41"):
        pipeline.score(spec, "score 1", DAY, resources, report=report)
