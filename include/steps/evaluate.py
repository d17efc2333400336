"""The step that evaluates a candidate."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include import evaluation, training
from include.errors import VersionIncompatibleError
from include.inference import load_scorer
from include.provenance import VerifiedFiles, file_digest
from include.records import (
    CARD_DATA,
    CardData,
    Evaluation,
    Evidence,
    ExportedCandidate,
    Period,
    Rehearsal,
    Reproducibility,
    SnapshotRef,
    Split,
)
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.versions import NOT_PROMOTED, OpenedVersion, open_version, require_declared, require_source

DAY = timedelta(days=1)
SERVED_AGAIN_ROWS, SERVED_AGAIN_DAYS = 500, 7


def evaluate_candidate(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Evaluation:
    """Measure candidate, champion and baseline on the same holdout rows.

    Candidate and champion predict through their artifacts and by their own queries, as in production. The data of the
    model card are too large to pass between tasks: they are written into the run's folder, and the evaluation holds
    their digest.
    """
    fitted = exported.fitted
    split = fitted.snapshot.split
    champion = resources.ledger.champion(spec.name)
    with resources.telemetry.step(spec.name, "evaluate"):
        data = training.read_training_data(spec, fitted.snapshot)
        scorers = {"candidate": load_scorer(VerifiedFiles(Path(fitted.folder), exported.digests))}
        kept: NDArray[np.bool_] | slice = slice(None)
        left_out, champion_rows = 0, None
        if champion is not None:
            opened = open_version(spec.name, champion.to_version, resources)
            scorers["champion"] = opened.scorer
            champion_rows = _champion_rows(spec, opened, fitted.snapshot, data.holdout, resources)
            if isinstance(champion_rows, evaluation.MatchedRows):
                kept, left_out, champion_rows = champion_rows.kept, champion_rows.left_out, champion_rows.rows
        inputs = evaluation.EvaluationInput(
            holdout=data.holdout.filter(kept) if left_out else data.holdout,
            truth=data.y_holdout[kept],
            training=(data.x_train, data.y_train),
            baseline_scores=training.expected_scores(training.read_baseline(fitted), data.x_holdout[kept]),
            thresholds=fitted.thresholds,
            split=split,
            served=_served_again(spec, split, data.holdout, resources),
            champion_rows=champion_rows,
            left_out=left_out,
        )
        compared, card = evaluation.evaluate(spec, inputs, scorers, champion=champion, progress=resources.progress)
        return compared.model_copy(
            update={
                "parity": exported.parity,
                "reused_by": _evaluated_on(spec, fitted.run_id, split.holdout, resources),
                "card_digest": _kept(card, Path(fitted.folder)),
            }
        )


def gather_evidence(
    spec: ModelSpec,
    compared: Evaluation,
    rehearsal: Rehearsal | None,
    resources: Resources,
    reproducibility: Reproducibility | None = None,
) -> Evidence:
    """Gather the evidence for a decision: metrics, rehearsal, reproducibility, and the model's accepted versions."""
    past = [each.evaluation.candidate for each in resources.ledger.versions(spec.name) if each.decision.accepted]
    return Evidence(evaluation=compared, rehearsal=rehearsal, reproducibility=reproducibility, history=tuple(past))


def _champion_rows(
    spec: ModelSpec, champion: OpenedVersion, snapshot: SnapshotRef, holdout: pa.Table, resources: Resources
) -> evaluation.MatchedRows | str | None:
    """Return the holdout's rows as the champion's own query gives them.

    Returns
    -------
    MatchedRows, str or None
        None: its query is that of the snapshot, which has its rows. A string: why the champion cannot be compared.
    """
    try:
        require_declared(spec, champion, NOT_PROMOTED)
        same = champion.query.digest == snapshot.query_digest
        if same and set(champion.signature.names) <= set(holdout.column_names):
            return None
        require_source(champion, resources, NOT_PROMOTED)
    except VersionIncompatibleError as error:
        return "; ".join(error.differences)
    with resources.features.read(champion.query, snapshot.split.holdout, labelled=False) as rows:
        matched = evaluation.match_rows(holdout, spec.query, rows.read_all(), champion.query)
    return matched.obstacle or matched


def _served_again(spec: ModelSpec, split: Split, holdout: pa.Table, resources: Resources) -> pa.Table:
    """Read the last days of the holdout that have rows in the same way as scoring: one day at a time, without target.

    One day, or as many as have 500 rows together, but at most seven: some models have no rows on a Sunday.
    """
    read = []
    for day in last_days(split.holdout, holdout.column(spec.event_time)):
        with resources.features.read(spec.query, day, labelled=False) as rows:
            read.append(rows.read_all())
    return pa.concat_tables(read)


def last_days(holdout: Period, times: pa.ChunkedArray) -> list[Period]:
    """Return the newest days before the end of the holdout that have rows, until they have enough."""
    end = np.datetime64(holdout.end.astimezone(UTC).replace(tzinfo=None), "us")
    passed = (end - times.to_numpy().astype("datetime64[us]") - np.timedelta64(1, "us")) // np.timedelta64(DAY)
    ago, rows = np.unique(passed, return_counts=True)
    enough = int(np.searchsorted(rows.cumsum(), SERVED_AGAIN_ROWS)) + 1
    return [
        Period(start=max(holdout.start, holdout.end - (int(each) + 1) * DAY), end=holdout.end - int(each) * DAY)
        for each in ago[: min(enough, SERVED_AGAIN_DAYS)]
    ]


def _evaluated_on(spec: ModelSpec, run_id: str, holdout: Period, resources: Resources) -> tuple[int, ...]:
    """Return the versions of other runs that were evaluated on a holdout that overlaps this one."""
    return tuple(
        each.version
        for each in resources.ledger.versions(spec.name)
        if each.run_id != run_id
        and (seen := each.evaluation.holdout) is not None
        and seen.start < holdout.end
        and holdout.start < seen.end
    )


def _kept(card: CardData, folder: Path) -> str:
    file = folder / CARD_DATA
    file.write_text(card.model_dump_json(), encoding="utf-8")
    return file_digest(file)
