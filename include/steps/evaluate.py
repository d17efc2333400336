"""The step that evaluates a candidate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from include import evaluation, training
from include.inference import Scorer, load_scorer
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
    Split,
)
from include.resources import Resources
from include.spec import ModelSpec

SERVED_AGAIN = timedelta(days=1)


def evaluate_candidate(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Evaluation:
    """Measure candidate, champion and baseline on the same holdout rows.

    Candidate and champion predict through their artifacts, as in production. The data of the model card are too large
    to pass between tasks: they are written into the run's folder, and the evaluation holds their digest.
    """
    fitted = exported.fitted
    split = fitted.snapshot.split
    champion = resources.ledger.champion(spec.name)
    with resources.telemetry.step(spec.name, "evaluate"):
        data = training.read_training_data(spec, fitted.snapshot)
        scorers = {"candidate": load_scorer(VerifiedFiles(Path(fitted.folder), exported.digests))}
        if champion is not None:
            scorers["champion"] = _champion(spec, champion.to_version, resources)
        inputs = evaluation.EvaluationInput(
            holdout=data.holdout,
            truth=data.y_holdout,
            training=(data.x_train, data.y_train),
            baseline_scores=training.expected_scores(training.read_baseline(fitted), data.x_holdout),
            thresholds=fitted.thresholds,
            split=split,
            served=_served_again(spec, split, resources),
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


def _champion(spec: ModelSpec, version: int, resources: Resources) -> Scorer:
    registered = resources.ledger.version(spec.name, version)
    artifact = resources.artifacts.open(spec.name, version, registered.artifact_digest)
    return load_scorer(artifact)


def _served_again(spec: ModelSpec, split: Split, resources: Resources) -> pa.Table:
    """Read the last day of the holdout in the same way as scoring: only that day, without the target."""
    last = Period(start=max(split.holdout.start, split.holdout.end - SERVED_AGAIN), end=split.holdout.end)
    with resources.features.read(spec, last, labelled=False) as rows:
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
