"""Checks of the rows: constant features, leakage by single features, and skew between training and serving."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
LATER_SHARE = 0.2
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
    tested on the holdout. It is also learned on the first four fifths of the training rows and tested on the last
    fifth. The table assumes neither linearity nor order, and a feature of noise gets no credit for overfitting.
    """
    matrix, truth = training
    border = int(len(matrix) * (1 - LATER_SHARE))
    within = ((matrix[:border], truth[:border]), (matrix[border:], truth[border:]))
    found = [
        FeatureStrength(
            feature=name,
            training=_strength(task, *(_one(part, position) for part in within)),
            holdout=_strength(task, _one(training, position), _one(holdout, position)),
        )
        for position, name in enumerate(names)
    ]
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


def _strength(
    task: Task, training: tuple[NDArray[np.float32], Truth], holdout: tuple[NDArray[np.float32], Truth]
) -> float | None:
    (values, truth), (later, later_truth) = training, holdout
    known = values[~np.isnan(values)]
    seen = np.unique(known)
    edges = seen[1:] if len(seen) <= PARTS else np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1)[1:-1]))
    count = len(edges) + 2
    part, later_part = (
        np.where(np.isnan(each), count - 1, np.searchsorted(edges, each, side="right")) for each in (values, later)
    )
    rows = np.bincount(part, minlength=count)

    def table(target: Floats) -> Floats:
        return np.asarray(
            (np.bincount(part, weights=target, minlength=count) + PRIOR_ROWS * target.mean()) / (rows + PRIOR_ROWS)
        )

    if task == "regression":
        total = float(((later_truth - later_truth.mean()) ** 2).sum())
        left = float(((later_truth - table(truth.astype(np.float64))[later_part]) ** 2).sum())
        return 1 - left / total if total > 0 else None
    classes = [1] if task == "binary" else range(int(max(truth.max(), later_truth.max())) + 1)
    aucs = [_auc_of_parts(table((truth == c).astype(np.float64)), later_part, later_truth == c) for c in classes]
    defined = [auc for auc in aucs if auc is not None]
    return float(np.mean(defined)) if defined else None


def _auc_of_parts(score: Floats, part: NDArray[np.intp], positive: NDArray[np.bool_]) -> float | None:
    """Return the ROC AUC of rows with few different scores, from each part's numbers of positive and negative rows."""
    hits: Floats = np.bincount(part[positive], minlength=len(score)).astype(np.float64)
    rest: Floats = np.bincount(part[~positive], minlength=len(score)).astype(np.float64)
    if not hits.sum() or not rest.sum():
        return None
    levels, at = np.unique(score, return_inverse=True)
    hits = np.asarray(np.bincount(at, weights=hits, minlength=len(levels)), dtype=np.float64)
    rest = np.asarray(np.bincount(at, weights=rest, minlength=len(levels)), dtype=np.float64)
    below = np.cumsum(rest) - rest
    return float((hits * (below + rest / 2)).sum() / (hits.sum() * rest.sum()))
