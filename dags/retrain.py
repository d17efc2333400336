"""One Airflow DAG per declared model that retrains it: ``retrain_<model>``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from include.models import declared_models
from include.records import Evaluation, ExportedCandidate, FittedCandidate, ModelVersion, SnapshotRef
from include.settings import load_settings
from include.spec import ModelSpec
from sluice_airflow import assets, pages, runs
from sluice_airflow.defaults import model_dag_defaults


def build(spec: ModelSpec) -> DAG:
    """Return the DAG that retrains the model of `spec`."""
    champion = assets.champion(spec.name)

    @task
    def validate(run_id: str, dag_run: Any) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.validate_training_data(spec, run_id, runs.as_of(dag_run), resources).to_plain()

    @task
    def snapshot(dag_run: Any) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.take_snapshot(spec, runs.as_of(dag_run), resources).to_plain()

    @task
    def train(taken: dict[str, Any], run_id: str) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.train_candidate(spec, run_id, SnapshotRef.from_plain(taken), resources).to_plain()

    @task
    def export(fitted: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.export_candidate(spec, FittedCandidate.from_plain(fitted), resources).to_plain()

    @task
    def parity(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.check_parity(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def reproduce(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.check_reproducibility(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def evaluate(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            return pipeline.evaluate_candidate(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def gate(exported: dict[str, Any], evaluated: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        candidate, evaluation = ExportedCandidate.from_plain(exported), Evaluation.from_plain(evaluated)
        with pipeline.open_resources() as resources:
            return pipeline.weigh_candidate(spec, candidate, evaluation, resources).to_plain()

    @task(outlets=[champion])
    def promote(registered: dict[str, Any], dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from include import pipeline

        runs.stop_when_rejected(version := ModelVersion.from_plain(registered))
        with pipeline.open_resources() as resources:
            promotion = pipeline.promote_candidate(spec, version, runs.actor(dag_run), resources)
        outlet_events[champion].extra = assets.promotion_event(promotion, version.artifact_digest)
        return promotion.to_plain()

    settings = model_dag_defaults(spec, "retrain", timedelta(hours=2))
    with DAG(schedule=spec.retrain, max_active_runs=1, doc_md=pages.retrain_page(spec), **settings) as dag:
        validate() >> (taken := snapshot())
        exported = parity(export(train(taken)))
        exported = reproduce(exported) if spec.reproducible else exported
        promote(gate(exported, evaluate(exported)))
    return dag


for each in declared_models(load_settings().models_dir).specs.values():
    globals()[f"retrain_{each.name}"] = build(each)
