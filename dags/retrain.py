"""One Airflow DAG per declared model that retrains it: ``retrain_<model>``."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from include.flows import RETRAIN
from include.models import declared_models
from include.settings import load_settings
from include.spec import ModelSpec
from sluice_airflow import assets, dag_docs, dag_params, promotion_tasks, runs
from sluice_airflow.defaults import model_dag_defaults
from sluice_airflow.tasks import add_flow


def build(spec: ModelSpec) -> DAG:
    """Return the DAG that retrains the model of `spec`."""
    settings, page = model_dag_defaults(spec, "retrain", timedelta(hours=2)), dag_docs.retrain_page(spec)
    with DAG(
        schedule=spec.retrain_schedule,
        max_active_runs=runs.max_active_runs(spec),
        params=dag_params.RETRAIN,
        doc_md=page,
        **settings,
    ) as dag:
        add_flow(
            spec,
            RETRAIN,
            trainer=True,
            outlets={"promote": [assets.champion(spec.name)]},
            within={
                "snapshot": promotion_tasks.skip_if_nothing_new,
                "gate": promotion_tasks.skip_if_nothing_new,
                "promote": promotion_tasks.skip_rejected,
            },
            then={"promote": promotion_tasks.announce},
            by_person=lambda tasks: promotion_tasks.approval_task(spec, tasks["version"]),
        )
    return dag


for each in declared_models(load_settings().models_dir).specs.values():
    globals()[f"retrain_{each.name}"] = build(each)
