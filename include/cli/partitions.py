"""``sluice score``, ``backfill`` and ``drop-partition``: score partitions as the DAG does, or remove one."""

from __future__ import annotations

import sys
from argparse import Namespace

from include import pipeline
from include.cli import person
from include.errors import DatabaseError, SluiceError
from include.models import DeclaredModels
from include.records import Period, ScoreMode
from include.resources import Resources
from include.schedule import last_partition, parse_partition, parse_partitions
from include.spec import ModelSpec


def score(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Score and publish one partition, or a range of them one after the other; stop at the first that fails."""
    spec = models[arguments.model]
    if arguments.partition is None:
        periods = [last_partition(spec.score_schedule, resources.clock(), timezone=spec.score_timezone)]
    elif arguments.to is None:
        periods = [parse_partition(spec.score_schedule, arguments.partition, timezone=spec.score_timezone)]
    else:
        periods = parse_partitions(spec.score_schedule, arguments.partition, arguments.to, timezone=spec.score_timezone)
    for period in periods:
        _publish(spec, period, resources, arguments.version, "champion")
    return 0


def backfill(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Score a range of past partitions. When one fails, the others are scored nevertheless.

    Raises
    ------
    SluiceError
        At the end, with the partitions that failed; DatabaseError if the database failed each time.
    """
    spec = models[arguments.model]
    periods = parse_partitions(spec.score_schedule, arguments.first, arguments.last, timezone=spec.score_timezone)
    failed: dict[str, SluiceError] = {}
    for period in periods:
        try:
            _publish(spec, period, resources, arguments.version, "champion_then")
        except SluiceError as error:
            sys.stderr.write(f"{spec.name} {period}: {error}\n")
            failed[f"{period.start:%Y-%m-%dT%H:%M}"] = error
    if failed:
        all_by_database = all(isinstance(error, DatabaseError) and error.retryable for error in failed.values())
        raise (DatabaseError if all_by_database else SluiceError)(
            f"backfill of '{spec.name}': {len(failed)} of {len(periods)} partitions failed: {', '.join(failed)}. "
            "The reasons are above; the other partitions are published. Correct the cause and backfill these again."
        )
    return 0


def drop(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Remove the scores of one published partition, unless a look-up still needs them."""
    spec = models[arguments.model]
    period, removed = pipeline.drop_partition(spec, arguments.partition, person.who(), arguments.reason, resources)
    sys.stdout.write(
        f"{spec.name} {_named(period)}: {removed.row_count:,} rows removed; the ledger keeps the publication "
        f"(sequence {removed.sequence}) and the reason for its removal.\n"
        f"To restore them: sluice score {spec.name} --partition {arguments.partition}\n"
    )
    return 0


def _publish(spec: ModelSpec, period: Period, resources: Resources, version: int | None, mode: ScoreMode) -> None:
    run_id = f"shell__{resources.clock().isoformat()}"
    published = pipeline.score(spec, run_id, period, resources, version=version, mode=mode)
    sys.stdout.write(
        f"{spec.name} {_named(period)}: {published.row_count:,} rows published with version "
        f"{published.version} (sequence {published.sequence}{_chosen(published.mode)}).\n"
    )
    if not published.row_count:
        sys.stdout.write("  It is published as an empty partition: the source has no rows for it.\n")
    for sentence in published.unknown_over(spec.scoring.max_unknown):
        sys.stderr.write(f"warning: {sentence}\n")


def _chosen(mode: ScoreMode) -> str:
    """Return a note on how the version was chosen; empty for the champion."""
    return "" if mode == "champion" else f", {mode.replace('_', ' ')}"


def _named(period: Period) -> str:
    """Return the start of a partition: only the date if it is a whole day."""
    return f"{period.start:%Y-%m-%d}" if period == Period.of_day(period.start.date()) else str(period)
