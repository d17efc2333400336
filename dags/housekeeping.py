"""The Airflow DAG that removes old data, and delivers alerts: ``housekeeping``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from include.models import declared_models
from include.settings import DATABASE_POOL, load_settings
from sluice_airflow import dag_docs, runs
from sluice_airflow.defaults import TAG, dag_defaults
from sluice_airflow.tasks import with_pipeline

KEEP_WORK = timedelta(days=14)
KEEP_STAGING = timedelta(days=1)
KEEP_ORPHANS = timedelta(days=1)  # a registration takes minutes

specs = declared_models(load_settings().models_dir).specs
shadowed = [name for name, spec in specs.items() if spec.shadow is not None]

with DAG(
    dag_id="housekeeping",
    schedule="17 * * * *",
    max_active_runs=1,
    tags=[TAG],
    doc_md=dag_docs.HOUSEKEEPING.format(days=KEEP_WORK.days),
    **dag_defaults("sluice", limit=timedelta(minutes=15)),
):

    @task
    def deliver_alerts() -> int:
        """Deliver the messages about incidents that are due, also of alerts that the online service has stored."""
        channels = {spec.name: spec.alert_channels for spec in specs.values()}
        return with_pipeline(lambda _, resources: resources.alerts.deliver(channels, limit=1_000))

    @task
    def remove_old_work(dag_run: Any) -> int:
        """Remove the work folders of finished runs, and incomplete artifacts; return how many."""
        now = runs.as_of(dag_run)
        return with_pipeline(
            lambda steps, opened: (
                opened.artifacts.remove_orphans(KEEP_ORPHANS, now)
                + steps.remove_old_work(opened.settings.work_dir, KEEP_WORK, now)
            )
        )

    @task(pool=DATABASE_POOL)
    def clean_staging() -> list[str]:
        """Drop staging tables that no attempt will publish; return their names."""
        return with_pipeline(lambda steps, resources: steps.clean_staging(KEEP_STAGING, resources))

    @task(pool=DATABASE_POOL)
    def drop_expired_partitions(dag_run: Any) -> dict[str, list[str]]:
        """Remove score partitions that are older than the declared retention; return their starts by model."""
        now = runs.as_of(dag_run)
        return with_pipeline(
            lambda steps, resources: {
                spec.name: steps.drop_expired_partitions(spec, now, resources) for spec in specs.values()
            }
        )

    @task(pool=DATABASE_POOL)
    def shadow_requests(model: str, run_id: str) -> dict[str, Any] | None:
        """Predict the sampled online requests of a model with its challenger; return the divergence."""
        return with_pipeline(lambda steps, resources: steps.shadow_requests(specs[model], run_id, resources))

    clean_staging()
    drop_expired_partitions()
    deliver_alerts()
    remove_old_work()
    if shadowed:
        shadow_requests.expand(model=shadowed)  # the tasks are independent: one failure does not stop the others
