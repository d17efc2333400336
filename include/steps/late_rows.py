"""Late rows: published partitions whose source rows have changed since they were scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby

from include.errors import DatabaseError, FencedError, LateRowsError, SluiceError
from include.records import Alert, LatePartition, LateRows, PublishedPartition, ScoreMode, as_argument
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.versions import open_version

Rescore = Callable[[PublishedPartition], PublishedPartition]
"""Scores a published partition again."""

TASK = "late_rows"


def find_late_rows(spec: ModelSpec, resources: Resources, since: datetime, until: datetime | None = None) -> LateRows:
    """Compare the published partitions that end after `since`, and start before `until`, with their source.

    A partition is read by the query of the version that scored it. So neither a new ``features.sql`` nor a new
    declaration makes a difference: only the rows do.

    Raises
    ------
    DatabaseError
        When the database failed; a retry may succeed.
    """
    published = [
        each
        for each in resources.ledger.published_partitions(spec.name)
        if each.partition_end > since and (until is None or each.partition_start < until)
    ]
    known = [each for each in published if each.source_digest is not None]
    with resources.telemetry.step(spec.name, TASK):
        compared = (_compared(spec, each, resources) for each in known)
        found = tuple(each for each in compared if each is not None)
    return LateRows(model=spec.name, compared=len(known), unknown=len(published) - len(known), found=found)


def apply_policy(
    spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources, rescore: Rescore
) -> LateRows:
    """Compare the partitions of the window before a published one, and report or rescore those with late rows.

    Parameters
    ----------
    run_id : str
        Of the run that published the partition.

    Raises
    ------
    LateRowsError
        When a partition could not be rescored; the others are.
    """
    start = published.partition_start
    late = find_late_rows(spec, resources, start - spec.scoring.late_rows_window, start)
    rescoring = late.changed if spec.scoring.late_rows == "rescore" else ()
    for each in late.found:
        if each not in rescoring:
            resources.alerts.raise_alert_once(_alert(spec, each, run_id, resources.clock()), spec.alert_channels)
    return late.model_copy(update={"rescored": _rescored(spec, rescoring, rescore)})


def rescore_commands(late: Sequence[LatePartition]) -> list[str]:
    """Return the commands that score partitions again, each as it was scored; partitions are oldest first."""
    commands = []
    for (mode, version), group in groupby((each.published for each in late), _scored_by):
        partitions = list(group)
        model = partitions[0].model
        first, last = (as_argument(each.partition_start) for each in (partitions[0], partitions[-1]))
        if mode == "champion":
            until = "" if first == last else f" --to {last}"
            commands.append(f"sluice score {model} --partition {first}{until}")
        else:
            named = f" --version {version}" if mode == "named" else ""
            commands.append(f"sluice backfill {model} --from {first} --to {last}{named}")
    return commands


def _scored_by(published: PublishedPartition) -> tuple[ScoreMode, int]:
    return published.mode, published.version if published.mode == "named" else 0


def _compared(spec: ModelSpec, published: PublishedPartition, resources: Resources) -> LatePartition | None:
    """Return what is wrong with a partition; None if its source is as it was."""
    period = published.period
    try:
        query = open_version(spec.name, published.version, resources, published.artifact_digest).query
        now = resources.features.digest(query, period)
        if (now.rows, now.digest) == (published.row_count, published.source_digest):
            return None
        stable = resources.features.digest(query, period) == now
    except SluiceError as error:
        if error.retryable:
            raise
        return LatePartition(published=published, reason="unreadable", error=str(error))
    return LatePartition(
        published=published, reason="changed" if stable else "unstable", rows=now.rows, source_digest=now.digest
    )


def _rescored(spec: ModelSpec, late: Sequence[LatePartition], rescore: Rescore) -> tuple[PublishedPartition, ...]:
    done: list[PublishedPartition] = []
    failed: list[tuple[str, SluiceError]] = []
    for each in late:
        try:
            done.append(rescore(each.published))
        except FencedError:
            continue  # another run scores it at this moment
        except SluiceError as error:
            failed.append((each.sentence, error))
    if failed:
        by_database = all(isinstance(error, DatabaseError) and error.retryable for _, error in failed)
        reasons = [f"{sentence} It was not scored again: {error}" for sentence, error in failed]
        raise DatabaseError(" ".join(reasons)) if by_database else LateRowsError(spec.name, reasons, len(done))
    return tuple(done)


def _alert(spec: ModelSpec, late: LatePartition, run_id: str, at: datetime) -> Alert:
    advice = ""
    if late.reason == "changed":
        (command,) = rescore_commands([late])
        advice = (
            f" The published scores are those of the former rows. To score it again: `{command}`; "
            "Scoring(late_rows='rescore') in spec.py does so by itself."
        )
    return Alert(
        model=spec.name,
        dag_id=f"score_{spec.name}",
        task_id=TASK,
        run_id=run_id,
        try_number=None,
        error=f"model '{spec.name}', {late.sentence}{advice}",
        log_url=None,
        at=at,
        kind="late_rows",
        subject=as_argument(late.published.partition_start),
    )
