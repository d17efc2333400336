"""``sluice score``, ``backfill`` and ``drop-partition``: score partitions as the DAG does, or remove one."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from include import pipeline
from include.cli import person
from include.cli.progress import StepDisplay
from include.errors import DatabaseError, SluiceError
from include.models import DeclaredModels
from include.records import Period, ScoreMode
from include.resources import Resources
from include.schedule import last_partition, parse_partition, parse_partitions
from include.spec import ModelSpec


def score(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Score and publish one partition, or a range of them. When one of a range fails, the others are scored.

    Raises
    ------
    SluiceError
        That of the partition; for a range, at the end, with the partitions that failed.
    """
    spec = models[arguments.model]
    schedule, timezone = spec.score_schedule, spec.score_timezone
    if arguments.to is not None:
        if arguments.partition is None:
            raise SluiceError(
                "--to: expected --partition DATE beside it, the first of the range; found none. Nothing was scored."
            )
        periods = parse_partitions(schedule, arguments.partition, arguments.to, timezone=timezone)
        return _publish_all("score", spec, periods, resources, arguments.version, "champion")
    if arguments.partition is None:
        period = last_partition(schedule, resources.clock(), timezone=timezone)
    else:
        period = parse_partition(schedule, arguments.partition, timezone=timezone)
    _publish(spec, period, resources, arguments.version, "champion", StepDisplay())
    _show_next(spec)
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
    return _publish_all("backfill", spec, periods, resources, arguments.version, "champion_then")


def _publish_all(
    command: str,
    spec: ModelSpec,
    periods: Sequence[Period],
    resources: Resources,
    version: int | None,
    mode: ScoreMode,
) -> int:
    display = StepDisplay()
    failed: dict[str, SluiceError] = {}
    for number, period in enumerate(periods, 1):
        try:
            _publish(spec, period, resources, version, mode, display, f" ({number} of {len(periods)})")
        except SluiceError as error:
            sys.stderr.write(f"{spec.name} {period}: {error}\n")
            failed[f"{period.start:%Y-%m-%dT%H:%M}"] = error
    if failed:
        all_by_database = all(isinstance(error, DatabaseError) and error.retryable for error in failed.values())
        raise (DatabaseError if all_by_database else SluiceError)(
            f"{command} of '{spec.name}': {len(failed)} of {len(periods)} partitions failed: {', '.join(failed)}. "
            f"The reasons are above; the other partitions are published. Correct the cause and {command} these again."
        )
    _show_next(spec)
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


def _publish(
    spec: ModelSpec,
    period: Period,
    resources: Resources,
    version: int | None,
    mode: ScoreMode,
    display: StepDisplay,
    place: str = "",
) -> None:
    run_id = f"shell__{resources.clock().isoformat()}"
    began = time.monotonic()
    published = pipeline.score(
        spec, run_id, period, replace(resources, progress=display), version=version, mode=mode,
        around=lambda step: display.step(f"{spec.name} {_named(period)}{place}: {step.name}", lasting=False),
    )  # fmt: skip
    sys.stdout.write(
        f"{spec.name} {_named(period)}: {published.row_count:,} rows published with version {published.version} "
        f"(sequence {published.sequence}{_chosen(published.mode)}) in {time.monotonic() - began:.1f} s.\n"
    )
    if not published.row_count:
        sys.stdout.write("  It is published as an empty partition: the source has no rows for it.\n")
    for sentence in published.unknown_over(spec.scoring.max_unknown):
        sys.stderr.write(f"warning: {sentence}\n")


def _show_next(spec: ModelSpec) -> None:
    query = f"SELECT * FROM scores.{spec.name}_latest LIMIT 10"  # noqa: S608  # text for a person
    sys.stdout.write(f'Next: sluice psql -c "{query}"\n')


def _chosen(mode: ScoreMode) -> str:
    """Return a note on how the version was chosen; empty for the champion."""
    return "" if mode == "champion" else f", {mode.replace('_', ' ')}"


def _named(period: Period) -> str:
    """Return the start of a partition: only the date if it is a whole day."""
    return f"{period.start:%Y-%m-%d}" if period == Period.of_day(period.start.date()) else str(period)
