"""Removal of old data: staging tables, score partitions, work folders of finished runs."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include import scoring
from include.errors import PartitionInUseError
from include.reasons import check_reason
from include.records import Period, RemovedPartition
from include.resources import Resources
from include.schedule import is_partition, parse_range
from include.spec import ModelSpec

log = logging.getLogger(__name__)


def clean_staging(older_than: timedelta, resources: Resources) -> list[str]:
    """Drop the staging tables of replaced attempts, and of attempts older than `older_than`; return their names."""
    return scoring.clean_staging(resources.engine, older_than)


def drop_expired_partitions(spec: ModelSpec, now: datetime, resources: Resources) -> list[str]:
    """Remove the partitions that are older than the declared retention; return their starts in ISO 8601.

    The ledger records them and the reason. See `scoring.drop_partitions` for the partitions that stay.
    """
    with resources.telemetry.step(spec.name, "retire"):
        retired = scoring.drop_partitions(resources.engine, spec, now)
    return [each.partition_start.isoformat() for each in retired]


def drop_partition(
    spec: ModelSpec, requested: str, actor: str, reason: str, resources: Resources
) -> tuple[Period, RemovedPartition]:
    """Remove one published partition regardless of its age, by a person's decision and with a reason.

    A partition that look-ups need stays, unless it is none of the present schedule: such a one, of several days or of a
    former schedule, keeps those of the schedule from being published.

    Parameters
    ----------
    requested : str
        A day or a time: the published partition that begins then, or else the one that contains it.

    Raises
    ------
    ReasonError
        When the reason is too short; see `include.reasons`.
    PartitionInUseError
        When it is still needed, or not published.
    """
    reason = check_reason(reason)
    begin, end = parse_range(requested, timezone=spec.score_timezone)
    published = resources.ledger.published_partitions(spec.name)
    periods = [each.period for each in published]
    found = [each for each in periods if begin <= each.start < end]
    found += [each for each in periods if each.start <= begin < each.end]
    if not found:
        raise PartitionInUseError(spec.name, begin, "it is not published, or was already removed")
    (removed,) = scoring.drop_partitions(
        resources.engine,
        spec,
        resources.clock(),
        only=[found[0].start],
        reason=f"{reason} (removed by {actor})",
        keep_needed=is_partition(spec.score_schedule, found[0], timezone=spec.score_timezone),
    )
    return found[0], removed


def remove_old_work(work_dir: Path, keep: timedelta, now: datetime) -> int:
    """Remove the folders ``<work_dir>/<model>/<run>/`` without a change for `keep`.

    The files of a registered version are in the artifact store.

    Parameters
    ----------
    keep : timedelta
        Longer than any run takes, so that a folder of this age belongs to a finished run.

    Returns
    -------
    int
        Number of removed folders.
    """
    old = [run for run in sorted(work_dir.glob("*/*/")) if now - _last_change(run) > keep]
    for run in old:
        log.info("removing the work folder %s", run)
        shutil.rmtree(run)
    return len(old)


def _last_change(folder: Path) -> datetime:
    newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    return datetime.fromtimestamp(newest, UTC)
