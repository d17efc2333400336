"""What follows the gates in ``retrain_<model>``: the promotion of what they accepted."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from include.records import ModelVersion
from include.spec import ModelSpec
from sluice_airflow import assets, runs


def promote_what_passed(spec: ModelSpec, registered: Any) -> None:
    """Add the task that promotes a registered version, to the DAG that is being built.

    Parameters
    ----------
    registered : XComArg
        The version, as the task ``gate`` returns it.
    """
    champion = assets.champion(spec.name)

    @task(outlets=[champion])
    def promote(registered: dict[str, Any], dag_run: Any = None, outlet_events: Any = None) -> dict[str, Any]:
        from include import pipeline

        version = ModelVersion.from_plain(registered)
        runs.stop_when_rejected(version)
        with pipeline.open_resources() as resources:
            promotion = pipeline.promote_candidate(spec, version, runs.actor(dag_run), resources)
        outlet_events[champion].extra = assets.promotion_event(promotion, version.artifact_digest)
        return promotion.to_plain()

    promote(registered)
