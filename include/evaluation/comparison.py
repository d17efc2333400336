"""Candidate, champion and baseline on the same rows: everything that a decision depends on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.errors import UnscorableRowsError
from include.evaluation.blocks import Blocks, blocks_of
from include.evaluation.curves import card_data
from include.evaluation.data_checks import check_data, serving_skew
from include.evaluation.intervals import Estimates, IntervalConfig, differences_of, intervals_of, measure_all
from include.evaluation.predictions import Floats, Truth
from include.evaluation.slice_finder import LOSS, bin_features, row_losses, worst_slices
from include.evaluation.slices import group_rates, slice_metrics
from include.inference import ModelSignature, Scorer, by_classes, compute_divergence, score_with_progress
from include.inference.batch import encode_batch
from include.progress import SILENT, Progress
from include.records import CardData, DataChecks, Divergence, Evaluation, Promotion, Split
from include.spec import FairnessGap, ModelSpec, NoInferiorSlice, SliceThreshold

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """The rows that a candidate is evaluated on.

    Attributes
    ----------
    holdout : pyarrow.Table
        The holdout's rows in order of event time. Each scorer encodes them with its own dictionaries, as in production.
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    training : tuple of ndarray
        Matrix and truth of the training rows, in order of event time.
    baseline_scores : ndarray, shape (n_samples, n_classes) or (n_samples, 1)
    thresholds : mapping of str to float
        Of F1, by model.
    split : Split, optional
    served : pyarrow.Table or str
        The last rows of the holdout, read again as scoring reads them; or the reason why they could not be read.
    champion_rows : pyarrow.Table or str or None
        The same rows in the same order, as the champion's own query gives them; None: the champion has the same query.
        Or the reason why the champion cannot be compared.
    left_out : int
        The number of rows that are not part of `holdout`, because the champion's own query does not give them.
    """

    holdout: pa.Table
    truth: Truth
    training: tuple[Matrix, Truth]
    baseline_scores: Floats
    thresholds: Mapping[str, float] = field(default_factory=dict)
    split: Split | None = None
    served: pa.Table | str = "the rows were not read again"
    champion_rows: pa.Table | str | None = None
    left_out: int = 0


def evaluate(
    spec: ModelSpec,
    data: EvaluationInput,
    scorers: Mapping[str, Scorer],
    *,
    champion: Promotion | None,
    progress: Progress = SILENT,
) -> tuple[Evaluation, CardData]:
    """Measure every model on the holdout.

    Parameters
    ----------
    scorers : mapping
        The ``candidate`` and, if there is one, the ``champion``.
    champion : Promotion, optional
        The promotion in force when its artifact was loaded.
    progress : Progress

    Returns
    -------
    evaluation : Evaluation
        Metrics, intervals, differences, slices and data checks: small enough to pass between tasks.
    card : CardData
        The curves and histograms of the model card.
    """
    started = time.monotonic()
    candidate = scorers["candidate"]
    matrix = encode_batch(data.holdout, candidate.signature)
    classes = spec.target.classes
    scores, labels = {"baseline": data.baseline_scores}, {}
    scores["candidate"], labels["candidate"] = by_classes(
        candidate.signature, score_with_progress(candidate, matrix, "holdout, candidate", progress), classes
    )
    note = None
    if champion is not None:
        theirs = _champion_scores(spec, data, scorers["champion"], progress)
        if isinstance(theirs, str):
            note = theirs
        else:
            scores["champion"], labels["champion"] = by_classes(scorers["champion"].signature, theirs, classes)
    blocks = blocks_of(event_times(spec, data.holdout), spec.evaluation.block_length)
    config = IntervalConfig(
        spec.evaluation.confidence_level, spec.evaluation.n_resamples, spec.evaluation.quantile, spec.seed
    )
    data = replace(data, thresholds=_thresholds(data, scorers, classes))
    measured = measure_all(spec.task, data.truth, scores, blocks, config, thresholds=data.thresholds, progress=progress)
    found = {
        **_metrics(measured, blocks, config),
        **_parts(spec, data, scores, matrix, candidate, blocks, config),
        "champion_version": champion.to_version if champion else None,
        "champion_sequence": champion.sequence if champion else 0,
        "champion_note": note,
        "champion_left_out": data.left_out,
        "divergence": _divergence(scores, labels) if "champion" in scores else None,
        "data": _data_checks(spec, data, candidate, matrix),
    }
    card = card_data(spec, data.truth, scores, candidate, matrix, progress)
    evaluation = Evaluation(
        model=spec.name,
        rows=len(data.truth),
        n_blocks=blocks.count,
        block_description=blocks.description,
        confidence_level=config.confidence_level,
        n_resamples=config.n_resamples,
        threshold=candidate.signature.decision_threshold,
        class_rows={label: int((data.truth == i).sum()) for i, label in enumerate(spec.target.classes)},
        train=data.split.train if data.split else None,
        holdout=data.split.holdout if data.split else None,
        seconds=time.monotonic() - started,
        **found,
    )
    return evaluation, card


def _thresholds(data: EvaluationInput, scorers: Mapping[str, Scorer], classes: tuple[str, ...]) -> dict[str, float]:
    """Return the decision thresholds by model: those of the artifacts, which are served, and the baseline's."""
    served = {who: _threshold(each.signature, classes) for who, each in scorers.items()}
    baseline = {who: each for who, each in data.thresholds.items() if who not in served}
    return {who: each for who, each in {**baseline, **served}.items() if each is not None}


def _threshold(signature: ModelSignature, classes: tuple[str, ...]) -> float | None:
    """Return the threshold of a version on the probability of the last of `classes`.

    If its own second class is the other one, a row is of the last class when the probability of the other one is below
    the version's threshold.
    """
    threshold = signature.decision_threshold
    if threshold is None or signature.classes[-1] == classes[-1]:
        return threshold
    return math.nextafter(1 - threshold, math.inf)


def _divergence(scores: Mapping[str, Floats], labels: Mapping[str, NDArray[np.intp] | None]) -> Divergence:
    champion, candidate = labels["champion"], labels["candidate"]
    flipped = None if champion is None or candidate is None else np.asarray(champion != candidate)
    return compute_divergence(scores["champion"], scores["candidate"], flipped=flipped)


def event_times(spec: ModelSpec, rows: pa.Table) -> NDArray[np.int64]:
    """Return the rows' event times in microseconds since 1970, shape (n_samples,)."""
    micros = pc.cast(rows.column(spec.event_time), pa.timestamp("us", tz="UTC"))
    return np.asarray(pc.cast(micros, pa.int64()).to_numpy(), dtype=np.int64)


def _metrics(measured: dict[str, Estimates], blocks: Blocks, config: IntervalConfig) -> dict[str, object]:
    ours, reference = measured["candidate"], measured.get("champion")
    return {
        "candidate": ours.values,
        "baseline": measured["baseline"].values,
        "champion": reference.values if reference else None,
        "intervals": intervals_of(ours, blocks, config),
        "baseline_intervals": intervals_of(measured["baseline"], blocks, config),
        "champion_intervals": intervals_of(reference, blocks, config) if reference else {},
        "differences": differences_of(ours, reference, blocks, config) if reference else {},
        "baseline_differences": differences_of(ours, measured["baseline"], blocks, config),
    }


def _parts(
    spec: ModelSpec,
    data: EvaluationInput,
    scores: Mapping[str, Floats],
    matrix: Matrix,
    candidate: Scorer,
    blocks: Blocks,
    config: IntervalConfig,
) -> dict[str, object]:
    requested = {gate.metric for gate in spec.policy if isinstance(gate, SliceThreshold | NoInferiorSlice)}
    usual = "roc_auc" if spec.task == "binary" else LOSS[spec.task]
    slices, left_out = slice_metrics(
        spec.task,
        data.holdout,
        data.truth,
        scores,
        blocks,
        config,
        declared=spec.evaluation.slices,
        metrics=sorted(requested | {usual}),
        min_rows=spec.evaluation.min_slice_rows,
        thresholds=data.thresholds,
    )
    losses = {who: row_losses(spec.task, data.truth, scores[who]) for who in scores.keys() - {"baseline"}}
    binned = bin_features(candidate.signature.features, matrix)
    fair = [gate.feature for gate in spec.policy if isinstance(gate, FairnessGap)]
    return {
        "slices": slices,
        "slices_left_out": left_out,
        "worst_slices": worst_slices(spec.task, losses, binned, blocks, spec.evaluation.min_slice_rows),
        # Rates are defined only for a binary model. A gate on rates of another model does not pass.
        "groups": group_rates(
            data.holdout,
            data.truth.astype(np.int64),
            candidate.signature.labels(scores["candidate"]) == 1,
            list(dict.fromkeys(fair)),
        )
        if spec.task == "binary"
        else (),
    }


def _data_checks(spec: ModelSpec, data: EvaluationInput, candidate: Scorer, matrix: Matrix) -> DataChecks:
    newest: datetime = pc.max(data.holdout.column(spec.event_time)).as_py()
    served = data.served
    differs = served if isinstance(served, str) else serving_skew(candidate.signature, data.holdout, served)
    return check_data(
        spec.task,
        candidate.signature,
        data.training,
        (matrix, data.truth),
        newest=newest,
        served=differs,
        served_rows=0 if isinstance(served, str) else served.num_rows,
    )


def _champion_scores(spec: ModelSpec, data: EvaluationInput, reference: Scorer, progress: Progress) -> Floats | str:
    """Return the champion's scores in the order of its signature, or why there are none."""
    rows = data.holdout if data.champion_rows is None else data.champion_rows
    note = rows if isinstance(rows, str) else _why_incomparable(spec, reference, rows)
    if note is not None:
        return note
    try:
        return score_with_progress(reference, encode_batch(rows, reference.signature), "holdout, champion", progress)
    except UnscorableRowsError as error:
        return f"it has no answer for {len(error.rows):,} of the holdout's rows: {error}"


def _why_incomparable(spec: ModelSpec, reference: Scorer, rows: pa.Table) -> str | None:
    if reference.signature.task != spec.task or set(reference.signature.classes) != set(spec.target.classes):
        return "its task or classes differ: they were changed in spec.py"
    missing = sorted(set(reference.signature.names) - set(rows.column_names))
    if missing:
        return f"it needs feature(s) that features.sql no longer returns: {', '.join(missing)}"
    return None
