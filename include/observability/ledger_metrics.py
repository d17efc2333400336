"""The state of the models, the database and the disk as gauges.

A moment is a timestamp, not an age: while the process that exports it is away, the age goes on growing in Prometheus.

Sources
-------
https://prometheus.io/docs/practices/instrumentation/#timestamps-not-time-since
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection, text

from include.schedule import later_by_clock, partition_containing
from include.spec import ModelSpec

UNDELIVERED_WITHIN: Final = timedelta(days=7)
"""An alert that could not be delivered for so long is no longer counted: nobody tries it any more."""

REFUSED_WITHIN: Final = timedelta(minutes=70)
"""The service repeats once an hour that it cannot load a version."""

_CHAMPIONS = text("""
    SELECT champion.model, champion.version, champion.since,
           coalesce(cast(registered.evaluation #>> '{holdout,end}' AS timestamptz), registered.created_at) AS data_end,
           EXISTS (
               SELECT FROM sluice.alert
               WHERE alert.dag_id = 'model_service' AND alert.model = champion.model
                 AND alert.run_id = format('version %s could not be loaded', champion.version)
                 AND alert.raised_at > :refused_since AND alert.raised_at >= champion.since
           ) AS refused
    FROM sluice.champion JOIN sluice.model_version AS registered USING (model, version)
""")
_NEWEST_PARTITIONS = text("""
    SELECT model, max(partition_end) AS newest FROM sluice.published_partition GROUP BY model
""")
_UNDELIVERED = text("""
    SELECT coalesce(incident.model, '') AS model, count(*) AS alerts
    FROM sluice.alert_message AS message JOIN sluice.incident AS incident ON incident.id = message.incident_id
    WHERE message.delivered_at IS NULL AND message.attempts > 0 AND message.created_at > :since GROUP BY 1
""")


class _Champion(NamedTuple):
    model: str
    version: int
    since: datetime
    data_end: datetime
    refused: bool


def ledger_metrics(connection: Connection, now: datetime, specs: Mapping[str, ModelSpec]) -> list[Metric]:
    """Return the state of each declared model, and the alerts that nobody received.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A connection to a migrated database, with the right to read the tables of the schema `sluice`.
    now : datetime
        The time at which a partition counts as late.
    specs : mapping of str to ModelSpec
        The declared models by name.

    Returns
    -------
    list of prometheus_client.Metric
        Gauges; docs/reference/metrics.md lists them. A gauge has no sample of a model for which it has no meaning,
        such as the age of a champion that does not exist.
    """
    # Only the values of these three queries are used below.
    rows = connection.execute(_CHAMPIONS, {"refused_since": now - REFUSED_WITHIN})
    champions = {champion.model: champion for champion in (_Champion(*row) for row in rows)}
    newest = {str(model): end for model, end in connection.execute(_NEWEST_PARTITIONS)}
    undelivered = connection.execute(_UNDELIVERED, {"since": now - UNDELIVERED_WITHIN}).all()

    info = _gauge("sluice_model_info", "A declared model; always 1", "model", "owner", "task")
    version = _gauge("sluice_champion_version", "Version that is champion; 0: none", "model")
    promoted = _gauge("sluice_champion_promoted_timestamp_seconds", "When the champion was promoted", "model")
    data_end = _gauge("sluice_champion_data_end_timestamp_seconds", "End of the rows that the champion knows", "model")
    refused = _gauge("sluice_champion_refused", "1 if the service lately reported it cannot load the champion", "model")
    partition = _gauge("sluice_newest_partition_end_timestamp_seconds", "End of the newest partition", "model")
    late = _gauge("sluice_partition_lateness_seconds", "Time since the next partition was due; 0: not due", "model")
    alerts = _gauge("sluice_alerts_undelivered", "Alerts of seven days that did not reach every channel", "model")

    for name, spec in specs.items():
        info.add_metric((name, spec.owner, spec.task), 1)
        champion = champions.get(name)
        version.add_metric((name,), champion.version if champion else 0)
        if name in newest:
            partition.add_metric((name,), newest[name].timestamp())
        if champion is None:
            continue
        promoted.add_metric((name,), champion.since.timestamp())
        data_end.add_metric((name,), champion.data_end.timestamp())
        refused.add_metric((name,), champion.refused)
        if spec.score_schedule is not None:
            late.add_metric((name,), lateness(spec, newest.get(name) or champion.since, now).total_seconds())
    for model, count in undelivered:
        alerts.add_metric((model,), count)
    if not undelivered:
        alerts.add_metric(("",), 0)
    return [info, version, promoted, data_end, refused, partition, late, alerts]


def lateness(spec: ModelSpec, scored_until: datetime, now: datetime) -> timedelta:
    """Return for how long the next partition of a model has been due; zero if it is not due yet.

    A partition is due at its end, or as much later as `ScoreStart` allows a run to wait.

    Parameters
    ----------
    spec : ModelSpec
    scored_until : datetime
        End of the newest published partition; without one, the promotion of the champion, before which nothing could
        be scored.
    now : datetime
    """
    following = partition_containing(spec.score_schedule, scored_until, timezone=spec.score_timezone)
    due = later_by_clock(following.end, spec.score_start.longest, timezone=spec.score_timezone)
    return max(now - due, timedelta(0))


def disk_metrics(home: Path) -> list[Metric]:
    """Return the size of the file system of `home`, and what is free of it; nothing if it cannot be read.

    Free is what a user without special rights may still write.
    """
    free = _gauge("sluice_disk_free_bytes", "Free bytes of the file system under SLUICE_HOME")
    size = _gauge("sluice_disk_size_bytes", "Size of the file system under SLUICE_HOME")
    try:
        found = os.statvfs(home)
    except OSError:  # such as a network file system that is away; Prometheus then has no value, which a rule can see
        return [free, size]
    free.add_metric((), found.f_bavail * found.f_frsize)
    size.add_metric((), found.f_blocks * found.f_frsize)
    return [free, size]


def database_metrics(*, reachable: bool) -> list[Metric]:
    """Return whether the database could be read, under the name that the service uses, too."""
    up = _gauge("sluice_database_up", "1 if this process can read the database")
    up.add_metric((), reachable)
    return [up]


def heartbeat_metrics(beat: datetime) -> list[Metric]:
    """Return when the work of the exporting process last completed a round.

    A page that is still answered while that work hangs then shows it.
    """
    heartbeat = _gauge("sluice_watch_heartbeat_timestamp_seconds", "When the watcher last completed a round")
    heartbeat.add_metric((), beat.timestamp())
    return [heartbeat]


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)
