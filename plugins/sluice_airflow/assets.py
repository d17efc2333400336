"""The Airflow assets that Sluice's DAGs update, and the content of their events."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowSkipException

from include.records import LateRows, Promotion, PublishedPartition
from include.spec import ModelSpec

MOVED_CHAMPION = AssetAlias("moved_champion")
"""The outlet of ``operate_model``: only the run knows the model whose champion it changes."""


def champion(model: str) -> Asset:
    """Return the asset that changes when `model` has a new champion."""
    return Asset(name=f"{model}_champion", uri=f"sluice://{model}/champion", group="sluice")


def scores(model: str) -> Asset:
    """Return the asset that changes when a score partition of `model` was published."""
    return Asset(name=f"{model}_scores", uri=f"sluice://{model}/scores", group="sluice")


def promotion_event(promotion: Promotion, artifact_digest: str) -> dict[str, Any]:
    """Return the content of the event of a new champion."""
    return {
        "version": promotion.to_version,
        "artifact_digest": artifact_digest,
        "sequence": promotion.sequence,
        "card": f"/sluice/cards/{promotion.model}/{promotion.to_version}",
    }


def partition_event(published: PublishedPartition) -> dict[str, Any]:
    """Return the content of the event of a published partition."""
    return {
        "version": published.version,
        "artifact_digest": published.artifact_digest,
        "partition": published.partition_start.isoformat(),
        "rows": published.row_count,
    }


def announce_partition(context: Any, published: PublishedPartition) -> None:
    """Fill the event of a published partition in Airflow's `context`: what it carries, and its key.

    With a key, Airflow makes one run for each partition of a DAG that is scheduled by `PartitionedAssetTimetable`, even
    when a backfill publishes many, and none of a DAG that does not use partitions.
    """
    # Imported here: a DAG file needs this module when it is parsed, but not croniter.
    from include.schedule import partition_key

    event = context["outlet_events"][scores(published.model)]
    event.extra = partition_event(published)
    event.add_partitions(partition_key(published.period))


def announce_rescored(spec: ModelSpec, context: Any, late: LateRows) -> None:
    """Fill the event of the partitions that were scored again because of late rows.

    Raises
    ------
    AirflowSkipException
        When the policy is to rescore, and there was nothing to: a task that succeeds makes an event.
    """
    if spec.scoring.late_rows != "rescore":
        return
    if not late.rescored:
        raise AirflowSkipException(f"{late.compared} partition(s) compared with their source: none was scored again")
    from include.schedule import partition_key

    event = context["outlet_events"][scores(late.model)]
    event.extra = {"rescored": [partition_event(each) for each in late.rescored]}
    periods = (each.period for each in late.rescored)
    event.add_partitions([partition_key(period) for period in periods])
