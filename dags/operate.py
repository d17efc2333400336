"""The Airflow DAG with which a person promotes a version, or rolls back to one: ``operate_model``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from include.models import declared_models
from include.reasons import MIN_CHARACTERS
from include.settings import load_settings
from sluice_airflow import assets, dag_docs, runs
from sluice_airflow.defaults import TAG, dag_defaults
from sluice_airflow.tasks import with_pipeline

declared = declared_models(load_settings().models_dir)
# A model with a broken declaration still has a champion, and may need a rollback.
names = sorted({*declared.specs, *(error.file.parent.name for error in declared.broken)})

FORM = {
    "model": Param(
        type="string", enum=names or ["none_declared"], title="Model", description="The model whose champion to change."
    ),
    "version": Param(type="integer", minimum=1, title="Version", description="The version to make champion."),
    "reason": Param(
        type="string",
        minLength=MIN_CHARACTERS,
        maxLength=500,
        title="Reason",
        description="The reason, in one sentence. The ledger keeps it permanently.",
    ),
    "force": Param(
        False,
        type="boolean",
        title="Although gates rejected it",
        description="Promote the version even if gates rejected it. A rollback to an earlier champion needs no force.",
    ),
}

with DAG(
    dag_id="operate_model",
    schedule=None,
    params=FORM,
    max_active_runs=1,
    tags=[TAG, "operate"],
    doc_md=dag_docs.OPERATE,
    **dag_defaults("sluice", limit=timedelta(minutes=10)),
):

    @task(outlets=[assets.MOVED_CHAMPION])
    def move_champion(params: dict[str, Any], dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        """Promote the version, or roll back to it."""
        model, version = params["model"], params["version"]

        def move(steps: Any, resources: Any) -> Any:
            who, spec = runs.actor(dag_run), declared.specs.get(model)
            promotion = steps.move_champion(
                model, version, who, params["reason"], resources, spec, force=params["force"]
            )
            event = assets.promotion_event(promotion, resources.ledger.version(model, version).artifact_digest)
            outlet_events[assets.MOVED_CHAMPION].add(assets.champion(model), extra=event)
            return promotion

        return with_pipeline(move)

    move_champion()
