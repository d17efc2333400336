"""Candidate, champion and baseline on the same rows: everything that a decision is made of, in one place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks, blocks_of
from include.evaluation.curves import card_data
from include.evaluation.data_checks import data_facts, served_differently
from include.evaluation.intervals import Figures, Manner, differences_of, intervals_of, measure_all
from include.evaluation.metrics import Truth
from include.evaluation.slice_finder import LOSS, cut_features, row_losses, worst_slices
from include.evaluation.slices import group_rates, slice_figures
from include.inference import Scorer, compute_divergence
from include.inference.batch import encode_batch
from include.records import CardData, DataChecks, Evaluation, Promotion, Split
from include.spec import FairnessGap, ModelSpec, NoInferiorSlice, SliceThreshold

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a candidate is judged on.

    Attributes
    ----------
    holdout : pyarrow.Table
        The holdout's rows in order of event time; each scorer encodes them by its own dictionaries,
        as in production.
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    learned : tuple of ndarray
        Matrix and truth of the training rows, in order of event time.
    baseline_scores : ndarray, shape (n_samples, n_classes) or (n_samples, 1)
    thresholds : mapping of str to float
        Of F1, by who answers.
    split : Split, optional
    served : pyarrow.Table or str
        The last rows of the holdout, read again as scoring reads them; or why they could not be.
    """

    holdout: pa.Table
    truth: Truth
    learned: tuple[Matrix, Truth]
    baseline_scores: Floats
    thresholds: Mapping[str, float] = field(default_factory=dict)
    split: Split | None = None
    served: pa.Table | str = "they were not asked for"


def evaluate(
    spec: ModelSpec, judged: Judged, scorers: Mapping[str, Scorer], *, champion: Promotion | None
) -> tuple[Evaluation, CardData]:
    """Measure everyone on the holdout.

    Parameters
    ----------
    scorers : mapping
        ``candidate`` and, when there is one, ``champion``.
    champion : Promotion, optional
        The promotion in force when its artifact was loaded.

    Returns
    -------
    evaluation : Evaluation
        Figures, intervals, differences, slices and facts: small enough to pass between tasks.
    card : CardData
        What a model card draws.
    """
    started = time.monotonic()
    candidate = scorers["candidate"]
    matrix = encode_batch(judged.holdout, candidate.signature)
    scores = {"candidate": candidate.score(matrix), "baseline": judged.baseline_scores}
    note = None
    if champion is not None:
        rival = scorers["champion"]
        note = _why_incomparable(spec, rival, judged.holdout)
        if note is None:
            scores["champion"] = rival.score(encode_batch(judged.holdout, rival.signature))
    blocks = blocks_of(event_times(spec, judged.holdout), spec.evaluation.block_length)
    manner = Manner(spec.evaluation.confidence_level, spec.evaluation.n_resamples, spec.evaluation.quantile, spec.seed)
    measured = measure_all(spec.task, judged.truth, scores, blocks, manner, thresholds=judged.thresholds)
    found = {
        **_figures(measured, blocks, manner),
        **_parts(spec, judged, scores, matrix, candidate, blocks, manner),
        "champion_version": champion.to_version if champion else None,
        "champion_sequence": champion.sequence if champion else 0,
        "champion_note": note,
        "divergence": compute_divergence(scores["champion"], scores["candidate"], classes=bool(spec.target.classes))
        if "champion" in scores
        else None,
        "data": _facts(spec, judged, candidate, matrix),
    }
    card = card_data(spec, judged.truth, scores, candidate, matrix)
    evaluation = Evaluation(
        model=spec.name,
        rows=len(judged.truth),
        blocks=blocks.count,
        block=blocks.told,
        level=manner.level,
        resamples=manner.resamples,
        threshold=judged.thresholds.get("candidate"),
        class_rows={label: int((judged.truth == i).sum()) for i, label in enumerate(spec.target.classes)},
        train=judged.split.train if judged.split else None,
        holdout=judged.split.holdout if judged.split else None,
        seconds=time.monotonic() - started,
        **found,
    )
    return evaluation, card


def event_times(spec: ModelSpec, rows: pa.Table) -> NDArray[np.int64]:
    """Return the rows' event times in microseconds since 1970, shape (n_samples,)."""
    micros = pc.cast(rows.column(spec.event_time), pa.timestamp("us", tz="UTC"))
    return np.asarray(pc.cast(micros, pa.int64()).to_numpy(), dtype=np.int64)


def _figures(measured: dict[str, Figures], blocks: Blocks, manner: Manner) -> dict[str, object]:
    ours, rival = measured["candidate"], measured.get("champion")
    return {
        "candidate": ours.points,
        "baseline": measured["baseline"].points,
        "champion": rival.points if rival else None,
        "intervals": intervals_of(ours, blocks, manner),
        "baseline_intervals": intervals_of(measured["baseline"], blocks, manner),
        "champion_intervals": intervals_of(rival, blocks, manner) if rival else {},
        "differences": differences_of(ours, rival, blocks, manner) if rival else {},
        "baseline_differences": differences_of(ours, measured["baseline"], blocks, manner),
    }


def _parts(
    spec: ModelSpec,
    judged: Judged,
    scores: Mapping[str, Floats],
    matrix: Matrix,
    candidate: Scorer,
    blocks: Blocks,
    manner: Manner,
) -> dict[str, object]:
    asked = {gate.metric for gate in spec.policy if isinstance(gate, SliceThreshold | NoInferiorSlice)}
    usual = "roc_auc" if spec.task == "binary" else LOSS[spec.task]
    slices, left_out = slice_figures(
        spec.task,
        judged.holdout,
        judged.truth,
        scores,
        blocks,
        manner,
        declared=spec.evaluation.slices,
        metrics=sorted(asked | {usual}),
        fewest=spec.evaluation.min_slice_rows,
        thresholds=judged.thresholds,
    )
    losses = {who: row_losses(spec.task, judged.truth, scores[who]) for who in scores.keys() - {"baseline"}}
    cuts = cut_features(candidate.signature.features, matrix)
    fair = [gate.feature for gate in spec.policy if isinstance(gate, FairnessGap)]
    threshold = judged.thresholds.get("candidate", 0.5)
    return {
        "slices": slices,
        "slices_left_out": left_out,
        "worst_slices": worst_slices(spec.task, losses, cuts, blocks, spec.evaluation.min_slice_rows),
        # Only a binary model says yes or no: only its groups have rates, and a gate on others' is not passed.
        "groups": group_rates(
            judged.holdout, judged.truth.astype(np.int64), scores["candidate"], threshold, list(dict.fromkeys(fair))
        )
        if spec.task == "binary"
        else (),
    }


def _facts(spec: ModelSpec, judged: Judged, candidate: Scorer, matrix: Matrix) -> DataChecks:
    newest: datetime = pc.max(judged.holdout.column(spec.event_time)).as_py()
    served = judged.served
    differs = served if isinstance(served, str) else served_differently(candidate.signature, judged.holdout, served)
    return data_facts(
        spec.task,
        candidate.signature,
        judged.learned,
        (matrix, judged.truth),
        newest=newest,
        served=differs,
        served_rows=0 if isinstance(served, str) else served.num_rows,
    )


def _why_incomparable(spec: ModelSpec, rival: Scorer, holdout: pa.Table) -> str | None:
    if rival.signature.task != spec.task or rival.signature.classes != spec.target.classes:
        return "it answers another question: task or classes were changed in spec.py"
    missing = sorted(set(rival.signature.names) - set(holdout.column_names))
    if missing:
        return f"it needs feature(s) that features.sql no longer gives: {', '.join(missing)}"
    return None
