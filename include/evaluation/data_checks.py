"""Checks of the rows: constant features, leakage by single features, and skew between training and serving."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.errors import RowsRejectedError
from include.evaluation.predictions import Floats, Truth
from include.inference import ModelSignature, RowEncoder
from include.inference.batch import encode_batch
from include.records import DataChecks, FeatureStrength
from include.spec import Task

Matrix = NDArray[np.float32]
PARTS = 32
PRIOR_ROWS = 10
WINDOWS = 5
NORMAL_95 = 1.645  # the 95% quantile of the standard normal distribution
ROWS_AS_JSON = 500
STRENGTHS_KEPT = 60


def check_data(
    task: Task,
    signature: ModelSignature,
    training: tuple[Matrix, Truth],
    holdout: tuple[Matrix, Truth],
    *,
    newest: datetime | None,
    served: dict[str, float] | str,
    served_rows: int,
) -> DataChecks:
    """Collect the checks of the rows that gates use.

    Parameters
    ----------
    training, holdout : tuple of ndarray
        Matrix of shape (n_samples, n_features) and truth of the training and of the holdout rows,
        both in order of event time.
    served : dict of str to float, or str
        The result of `serving_skew`.
    """
    return DataChecks(
        features=signature.names,
        constant=constant_features(signature.names, training[0], holdout[0]),
        strengths=univariate_strength(task, signature.names, training, holdout)[:STRENGTHS_KEPT],
        newest=newest,
        served_rows=served_rows,
        served_differences=served if isinstance(served, dict) else {},
        served_note=served if isinstance(served, str) else None,
    )


def constant_features(names: Sequence[str], training: Matrix, holdout: Matrix) -> dict[str, str]:
    """Return the features with a single value (or only missing values), and where: training, holdout or both."""
    single = [np.array([_is_constant(column) for column in matrix.T]) for matrix in (training, holdout)]
    label = {(True, True): "training and holdout", (True, False): "training", (False, True): "holdout"}
    where = [(name, (bool(a), bool(b))) for name, a, b in zip(names, *single, strict=True)]
    return {name: label[key] for name, key in where if key in label}


def univariate_strength(
    task: Task, names: Sequence[str], training: tuple[Matrix, Truth], holdout: tuple[Matrix, Truth]
) -> tuple[FeatureStrength, ...]:
    """Return how well each feature alone predicts the target on later rows, the strongest on the holdout first.

    The values of a feature are divided into 32 parts with equal numbers of rows (or into the categories' codes). A
    table has the mean target of each part, shrunk towards the overall mean. It is learned on all training rows and
    tested on the holdout. The table assumes neither linearity nor order, and a feature of noise gets no credit for
    overfitting. For a regression, a straight line is tested as well, and the stronger one counts.

    The training rows are divided into five windows, one after the other in time. Each of the last four is predicted by
    a table of the rows before it, and the lowest strength of the four counts. So a relation that changes with the
    season, or drifts, is as weak in training as it may be afterwards.

    The strength of a regression is the squared correlation with the target, which does not depend on the level of the
    target: that may have risen since. A table that predicts the wrong way round has the strength of a constant.
    """
    matrix, truth = training
    borders = [len(matrix) * number // WINDOWS for number in range(WINDOWS + 1)]
    windows = [
        ((matrix[:first], truth[:first]), (matrix[first:end], truth[first:end])) for first, end in pairwise(borders[1:])
    ]
    found = []
    for position, name in enumerate(names):
        tested = [_strength(task, *(_one(part, position) for part in window)) for window in windows]
        within = min((each for each in tested if each is not None), default=None)
        after = _strength(task, _one(training, position), _one(holdout, position))
        found.append(
            FeatureStrength(
                feature=name,
                training=None if within is None else within.value,
                training_low=None if within is None else within.low,
                holdout=None if after is None else after.value,
                holdout_low=None if after is None else after.low,
            )
        )
    return tuple(sorted(found, key=lambda each: -(each.holdout if each.holdout is not None else -np.inf)))


def serving_skew(signature: ModelSignature, holdout: pa.Table, served: pa.Table) -> dict[str, float] | str:
    """Return the features that differ between training and serving, with the share of rows that do.

    Parameters
    ----------
    holdout : pyarrow.Table
        Holdout rows, as read for training.
    served : pyarrow.Table
        Rows of a part of the holdout, as read for scoring. Of the rows in both, all are compared as
        batches encode them, and the first 500 as the service encodes them, from JSON.

    Returns
    -------
    dict of str to float, or str
        The share of each feature; or the reason why nothing could be compared.
    """
    where = pc.index_in(_row_names(holdout, signature), value_set=_row_names(served, signature))
    known = holdout.filter(where.is_valid())
    if not known.num_rows:
        return "none of the last rows of the holdout was returned when they were read as scoring reads them"
    again = served.take(where.drop_null())
    wanted = encode_batch(known, signature)
    different = ~_same(wanted, encode_batch(again, signature))
    rows = again.select(list(signature.names)).slice(0, ROWS_AS_JSON).to_pylist()
    try:
        online = RowEncoder(signature).encode(rows)
    except RowsRejectedError as error:
        return f"the service would reject a row of the holdout: {str(error)[:300]}"
    different[: len(online)] |= ~_same(wanted[: len(online)], online)
    shares = different.mean(axis=0)
    return {name: float(share) for name, share in zip(signature.names, shares, strict=True) if share > 0}


def _row_names(rows: pa.Table, signature: ModelSignature) -> pa.Array:
    """Return what identifies a row of a training window: its key and its time, since a key may occur on many days."""
    key, time = (rows.column(name).combine_chunks() for name in (signature.entity_key.column, signature.event_time))
    moment = pc.cast(pc.cast(time, pa.int64()), pa.string())
    return pc.binary_join_element_wise(moment, pc.cast(key, pa.string()), " ")


def _same(left: Matrix, right: Matrix) -> NDArray[np.bool_]:
    return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)))


def _is_constant(column: NDArray[np.float32]) -> bool:
    missing = np.isnan(column)
    return bool(missing.all() or (not missing.any() and column.min() == column.max()))


def _one(rows: tuple[Matrix, Truth], position: int) -> tuple[NDArray[np.float32], Truth]:
    return rows[0][:, position], rows[1]


class _Strength(NamedTuple):
    """The strength of a feature on some rows, and its lower 95% confidence bound."""

    value: float
    low: float


def _strength(
    task: Task, training: tuple[NDArray[np.float32], Truth], later: tuple[NDArray[np.float32], Truth]
) -> _Strength | None:
    """Return the strength of a table of the training rows on later rows; None if it cannot be measured there."""
    (values, truth), (later_values, later_truth) = training, later
    known = values[~np.isnan(values)]
    if not len(known) or not len(later_values):
        return None
    edges = _edges(known)
    count = len(edges) + 2
    part, later_part = (
        np.where(np.isnan(each), count - 1, np.searchsorted(edges, each, side="right"))
        for each in (values, later_values)
    )
    if np.ptp(later_part) == 0 and later_part[0] < count - 1:
        return None  # one value, as of a month on a holdout of one month: it tells nothing; null in all rows is a drop
    rows = np.bincount(part, minlength=count)

    def table(target: Floats) -> Floats:
        return np.asarray(
            (np.bincount(part, weights=target, minlength=count) + PRIOR_ROWS * target.mean()) / (rows + PRIOR_ROWS)
        )

    if task == "regression":
        target = truth.astype(np.float64)
        by_table = _squared_correlation(table(target)[later_part], later_truth.astype(np.float64))
        by_line = _squared_correlation(_on_a_line(values, target, later_values), later_truth.astype(np.float64))
        return max(by_table, by_line) if by_table is not None and by_line is not None else None
    classes = [1] if task == "binary" else range(int(max(truth.max(), later_truth.max())) + 1)
    aucs = [_auc_of_parts(table((truth == c).astype(np.float64)), later_part, later_truth == c) for c in classes]
    defined = [auc for auc in aucs if auc is not None]
    return _Strength(*np.mean(defined, axis=0).tolist()) if defined else None


def _edges(known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lower borders of all parts but the first; a value that fills a whole part, such as 0, has its own."""
    seen = np.unique(known)
    if len(seen) <= PARTS:
        return np.asarray(seen[1:])
    borders, times = np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1)[1:-1]), return_counts=True)
    often = borders[times > 1].astype(np.float32)
    return np.unique(np.concatenate([borders.astype(np.float32), np.nextafter(often, np.float32(np.inf))]))


def _on_a_line(values: NDArray[np.float32], target: Floats, later: NDArray[np.float32]) -> Floats:
    """Return the later values, with the sign of their correlation with the target before; nulls as the mean.

    A table with 32 parts is too coarse for a copy of the target.
    """
    known = ~np.isnan(values)
    x = values[known].astype(np.float64)
    sign = np.sign(float(((x - x.mean()) * target[known]).sum()))
    return np.asarray(sign * np.where(np.isnan(later), x.mean(), later.astype(np.float64)))


def _squared_correlation(predicted: Floats, truth: Floats) -> _Strength | None:
    """Return the squared correlation, 0 if it is negative; with the standard error 2r(1 - r²)/sqrt(n)."""
    if np.ptp(truth) == 0:
        return None
    if np.ptp(predicted) == 0:
        return _Strength(0.0, 0.0)
    r = max(0.0, float(np.corrcoef(predicted, truth)[0, 1]))
    return _Strength(r * r, r * r - NORMAL_95 * 2 * r * (1 - r * r) / np.sqrt(len(truth)))


def _auc_of_parts(score: Floats, part: NDArray[np.intp], positive: NDArray[np.bool_]) -> _Strength | None:
    """Return the ROC AUC of rows with few different scores, from each part's numbers of positive and negative rows.

    At least 0.5, the AUC of a constant. The standard error is that of Hanley and McNeil (1982), "The meaning and use of
    the area under a receiver operating characteristic (ROC) curve", Radiology 143, 29-36.
    """
    hits: Floats = np.bincount(part[positive], minlength=len(score)).astype(np.float64)
    rest: Floats = np.bincount(part[~positive], minlength=len(score)).astype(np.float64)
    if not hits.sum() or not rest.sum():
        return None
    levels, at = np.unique(score, return_inverse=True)
    hits = np.asarray(np.bincount(at, weights=hits, minlength=len(levels)), dtype=np.float64)
    rest = np.asarray(np.bincount(at, weights=rest, minlength=len(levels)), dtype=np.float64)
    below = np.cumsum(rest) - rest
    auc = max(0.5, float((hits * (below + rest / 2)).sum() / (hits.sum() * rest.sum())))
    of_positive, of_negative = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (hits.sum() - 1) * of_positive + (rest.sum() - 1) * of_negative
    return _Strength(auc, auc - NORMAL_95 * float(np.sqrt(variance / (hits.sum() * rest.sum()))))
