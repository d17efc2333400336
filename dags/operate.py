"""The Airflow DAG with which a person promotes a version, rolls back to one, or holds promotions: ``operate_model``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from include.models import declared_models
from include.settings import load_settings
from sluice_airflow import assets, dag_docs, dag_params, runs
from sluice_airflow.dag_params import HOLD, LIFT, MOVE
from sluice_airflow.defaults import TAG, dag_defaults
from sluice_airflow.tasks import with_pipeline

declared = declared_models(load_settings().models_dir)
# A model with a broken declaration still has a champion, and may need a rollback.
names = sorted({*declared.specs, *(error.file.parent.name for error in declared.broken)})

with DAG(
    dag_id="operate_model",
    schedule=None,
    params=dag_params.operate(names),
    max_active_runs=1,
    tags=[TAG, "operate"],
    doc_md=dag_docs.OPERATE,
    **dag_defaults("sluice", limit=timedelta(minutes=10)),
):

    @task(outlets=[assets.MOVED_CHAMPION])
    def move_champion(params: dict[str, Any], dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        """Promote the version, or roll back to it."""
        runs.skip_unless(params["action"] == MOVE, params["action"])
        model, version = params["model"], runs.version_of_form(params)

        def move(steps: Any, resources: Any) -> Any:
            who, spec = runs.actor(dag_run), declared.specs.get(model)
            promotion = steps.move_champion(
                model, version, who, params["reason"], resources, spec, force=params["force"]
            )
            event = assets.promotion_event(promotion, resources.ledger.version(model, version).artifact_digest)
            outlet_events[assets.MOVED_CHAMPION].add(assets.champion(model), extra=event)
            return promotion

        return with_pipeline(move)

    @task
    def hold_promotions(params: dict[str, Any], dag_run: Any) -> dict[str, Any]:
        """Hold the promotions of the model, or lift the hold."""
        action, model, who = params["action"], params["model"], runs.actor(dag_run)
        runs.skip_unless(action in (HOLD, LIFT), action)

        def hold(steps: Any, resources: Any) -> Any:
            if action == LIFT:
                return steps.release_hold(model, who, params["reason"], resources, declared)
            until = runs.end_of_hold(params)
            return steps.hold_promotions(model, who, params["reason"], resources, declared, until)

        return with_pipeline(hold)

    move_champion()
    hold_promotions()
