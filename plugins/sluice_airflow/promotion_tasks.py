"""What follows the gates in ``retrain_<model>``: a person's approval, if declared, and the promotion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from include.records import ModelVersion
from include.spec import ModelSpec
from sluice_airflow import assets, runs
from sluice_airflow.links import CardLink


def add_promotion_tasks(spec: ModelSpec, registered: Any) -> None:
    """Add the tasks that have a registered version approved and promoted, to the DAG that is being built.

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
        runs.skip_if_rejected(version)
        with pipeline.open_trainer_resources() as resources:
            promotion = pipeline.promote_candidate(spec, version, runs.actor(dag_run), resources)
        outlet_events[champion].extra = assets.promotion_event(promotion, version.artifact_digest)
        return promotion.to_plain()

    registered.operator.operator_extra_links = (CardLink(),)
    promoted = promote(registered)
    if spec.approval is not None:
        # Imported here: it loads much of Airflow, and few models ask for it.
        from sluice_airflow.approval import EvidenceApproval

        EvidenceApproval(task_id="approve", spec=spec, registered=registered) >> promoted
