"""One Airflow DAG per declared model that retrains it: ``retrain_<model>``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from include.models import declared_models
from include.records import Evaluation, ExportedCandidate, FittedCandidate, Rehearsal, SnapshotRef
from include.settings import load_settings
from include.spec import ModelSpec
from sluice_airflow import dag_docs, runs
from sluice_airflow.defaults import model_dag_defaults
from sluice_airflow.promotion_tasks import add_promotion_tasks


def build(spec: ModelSpec) -> DAG:
    """Return the DAG that retrains the model of `spec`."""

    @task
    def validate(run_id: str, dag_run: Any) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.validate_training_data(spec, run_id, runs.as_of(dag_run), resources).to_plain()

    @task
    def snapshot(dag_run: Any) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.take_snapshot(spec, runs.as_of(dag_run), resources).to_plain()

    @task
    def train(taken: dict[str, Any], run_id: str) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.train_candidate(spec, run_id, SnapshotRef.from_plain(taken), resources).to_plain()

    @task
    def export(fitted: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.export_candidate(spec, FittedCandidate.from_plain(fitted), resources).to_plain()

    @task
    def parity(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.check_parity(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def reproduce(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.check_reproducibility(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def evaluate(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.evaluate_candidate(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def rehearse(exported: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_trainer_resources() as resources:
            return pipeline.rehearse_candidate(spec, ExportedCandidate.from_plain(exported), resources).to_plain()

    @task
    def gate(exported: dict[str, Any], evaluated: Any, rehearsed: Any, dag_run: Any = None) -> dict[str, Any]:
        from include import pipeline

        candidate = ExportedCandidate.from_plain(exported)
        seen = candidate, Evaluation.from_plain(evaluated), Rehearsal.from_plain(rehearsed)
        with pipeline.open_trainer_resources() as resources:
            return pipeline.evaluate_gates(spec, *seen, resources, dag_run.triggering_user_name).to_plain()

    settings, page = model_dag_defaults(spec, "retrain", timedelta(hours=2)), dag_docs.retrain_page(spec)
    with DAG(
        schedule=spec.retrain_schedule, max_active_runs=runs.max_active_runs(spec), doc_md=page, **settings
    ) as dag:
        validate() >> (taken := snapshot())
        exported = parity(export(train(taken)))
        exported = reproduce(exported) if spec.reproducible else exported
        evaluated, rehearsed = evaluate(exported), rehearse(exported)
        evaluated >> rehearsed  # not at once: the one's work would slow what the other measures
        add_promotion_tasks(spec, gate(exported, evaluated, rehearsed))
    return dag


for each in declared_models(load_settings().models_dir).specs.values():
    globals()[f"retrain_{each.name}"] = build(each)
