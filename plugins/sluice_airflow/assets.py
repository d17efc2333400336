"""The Airflow assets that Sluice's DAGs emit, and what their events carry."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias

from include.records import Period, Promotion, PublishedPartition

MOVED_CHAMPION = AssetAlias("moved_champion")
"""What ``operate_model`` declares: only the run knows whose champion it moves."""


def champion(model: str) -> Asset:
    """Return the asset that changes when `model` has a new champion."""
    return Asset(name=f"{model}_champion", uri=f"sluice://{model}/champion", group="sluice")


def scores(model: str) -> Asset:
    """Return the asset that changes when a score partition of `model` was published."""
    return Asset(name=f"{model}_scores", uri=f"sluice://{model}/scores", group="sluice")


def promotion_event(promotion: Promotion, artifact_digest: str) -> dict[str, Any]:
    """Return what the event of a moved champion carries."""
    return {
        "version": promotion.to_version,
        "artifact_digest": artifact_digest,
        "sequence": promotion.sequence,
        "card": f"/sluice/cards/{promotion.model}/{promotion.to_version}",
    }


def partition_event(published: PublishedPartition) -> dict[str, Any]:
    """Return what the event of a published partition carries."""
    return {
        "version": published.version,
        "artifact_digest": published.artifact_digest,
        "partition": published.partition_start.isoformat(),
        "rows": published.row_count,
    }


def announce_partition(event: Any, published: PublishedPartition) -> None:
    """Fill the event of a published partition: what it carries, and its key.

    With a key, Airflow makes one run a partition of a DAG that follows with `PartitionedAssetTimetable`,
    however many a backfill publishes, and none of a DAG that does not ask for partitions.
    """
    # Imported here: a DAG file needs this module at parse, and no schedules read.
    from include.schedule import partition_key

    event.extra = partition_event(published)
    event.add_partitions(partition_key(Period(start=published.partition_start, end=published.partition_end)))
