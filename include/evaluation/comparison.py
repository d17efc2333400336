"""Candidate, champion and baseline on the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.evaluation.metrics import measure
from include.inference import Scorer
from include.inference.batch import encode_batch
from include.records import Evaluation, Promotion
from include.spec import ModelSpec


def evaluate(
    spec: ModelSpec,
    holdout: pa.Table,
    truth: NDArray[np.int64] | NDArray[np.float64],
    scorers: Mapping[str, Scorer],
    *,
    baseline_scores: NDArray[np.float64],
    champion: Promotion | None,
) -> Evaluation:
    """Measure everyone on the holdout.

    Parameters
    ----------
    holdout : pyarrow.Table
        The holdout's rows; each scorer encodes them by its own dictionaries, as in production.
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    scorers : mapping
        ``candidate`` and, when there is one, ``champion``.
    baseline_scores : ndarray, shape (n_samples, n_classes) or (n_samples, 1)
    champion : Promotion, optional
        The promotion in force when its artifact was loaded.
    """
    candidate = scorers["candidate"]
    compared = Evaluation(
        model=spec.name,
        rows=len(truth),
        candidate=measure(spec.task, truth, candidate.score(encode_batch(holdout, candidate.signature))),
        baseline=measure(spec.task, truth, baseline_scores),
    )
    if champion is None:
        return compared
    rival = scorers["champion"]
    note = _why_incomparable(spec, rival, holdout)
    return compared.model_copy(
        update={
            "champion": None
            if note
            else measure(spec.task, truth, rival.score(encode_batch(holdout, rival.signature))),
            "champion_version": champion.to_version,
            "champion_fence": champion.fence,
            "champion_note": note,
        }
    )


def _why_incomparable(spec: ModelSpec, rival: Scorer, holdout: pa.Table) -> str | None:
    if rival.signature.task != spec.task or rival.signature.classes != spec.target.classes:
        return "it answers another question: task or classes were changed in spec.py"
    missing = sorted(set(rival.signature.names) - set(holdout.column_names))
    if missing:
        return f"it needs feature(s) that features.sql no longer gives: {', '.join(missing)}"
    return None
