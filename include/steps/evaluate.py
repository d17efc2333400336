"""The step that evaluates a candidate."""

from __future__ import annotations

from datetime import timedelta
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

SERVED_AGAIN = timedelta(days=1)


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
            served=_served_again(spec, split, resources),
            champion_rows=champion_rows,
            left_out=left_out,
        )
        compared, card = evaluation.evaluate(spec, inputs, scorers, champion=champion)
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


def _served_again(spec: ModelSpec, split: Split, resources: Resources) -> pa.Table:
    """Read the last day of the holdout in the same way as scoring: only that day, without the target."""
    last = Period(start=max(split.holdout.start, split.holdout.end - SERVED_AGAIN), end=split.holdout.end)
    with resources.features.read(spec.query, last, labelled=False) as rows:
        return rows.read_all()


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
