"""A snapshot becomes matrices: training and holdout, split by time, encoded by one signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from include.errors import ArtifactError, NotEnoughDataError, PrecisionError, TargetError
from include.inference.feature_types import FeatureType, feature_type
from include.inference.feature_types.base import MAX_FLOAT32
from include.inference.model_signature import ModelSignature
from include.provenance import file_digest
from include.records import Period, SnapshotRef
from include.spec import Feature, ModelSpec
from include.training.snapshot import within

MAX_MERGED_SHARE = 0.05
# A value that is rounded to single precision carries an error of variance spacing^2 / 12. At a spacing of 1e-3 standard
# deviations that is 8e-8 of the target's variance: nobody sees it in R^2. Linear models round more than once: they are
# learned from a target in the precision of the matrix, and answer in it. On scikit-learn's diabetes data, moved by an
# offset, R^2 of six of them is the same to 1e-4 up to this bound, .01 lower at a spacing of 0.1, and .3 lower at 1.7
# (1.76e9 + x).
MAX_TARGET_SPACING = 1e-3


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training rows as a matrix, and the holdout rows on which versions are compared.

    Attributes
    ----------
    x_train, x_holdout : ndarray of float32, shape (n_samples, n_features)
    y_train, y_holdout : ndarray, shape (n_samples,)
        Class indices (int64) in the order of the declared classes, or values (float64).
    holdout : pyarrow.Table
        The holdout rows as they were read.
    """

    signature: ModelSignature
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64] | NDArray[np.float64]
    x_holdout: NDArray[np.float32]
    y_holdout: NDArray[np.int64] | NDArray[np.float64]
    holdout: pa.Table


def read_training_data(spec: ModelSpec, snapshot: SnapshotRef) -> TrainingData:
    """Read a snapshot and encode it, a column at a time.

    So memory holds the matrices, the holdout as it was read, and one column of the whole; never the
    whole table beside its matrix. Dictionaries of categories are learned from the training rows
    alone, so that the holdout meets unknown categories as production will.

    Raises
    ------
    ArtifactError
        When the file is not what its digest says.
    PrecisionError
        When values of a feature merge in single precision, or those of a feature or the target are beyond it.
    TargetError
        When the target has a value that no estimator can learn.
    NotEnoughDataError
        When the training rows lack a class, or any value of a feature whose categories are learned.
    """
    _check_digest(snapshot)
    file = pq.ParquetFile(snapshot.path, memory_map=True)
    times = _column(file, spec.event_time)
    train, holdout = within(times, snapshot.split.train), within(times, snapshot.split.holdout)
    labels = _column(file, spec.target.column)
    y_train, y_holdout = _labels(spec, labels.filter(train)), _labels(spec, labels.filter(holdout))
    _check_target(spec, y_train, y_holdout)
    x_train = np.empty((len(y_train), len(spec.features)), dtype=np.float32)
    x_holdout = np.empty((pc.sum(holdout).as_py() or 0, len(spec.features)), dtype=np.float32)
    features = []
    for position, feature in enumerate(spec.features):
        column = _column(file, feature.name)
        seen = column.filter(train)
        declared = feature_type(feature)
        _check_numbers(spec, feature, column)
        _check_precision(spec, declared, seen)
        learned = declared.learn(seen)
        _check_categories(spec, learned)
        encode = feature_type(learned).arrow_encoder()
        x_train[:, position] = encode(seen)
        x_holdout[:, position] = encode(column.filter(holdout))
        features.append(learned)
    return TrainingData(
        signature=_signature(spec, tuple(features)),
        x_train=x_train,
        y_train=y_train,
        x_holdout=x_holdout,
        y_holdout=y_holdout,
        holdout=_rows(file, spec, snapshot.split.holdout),
    )


def require_target_precision(spec: ModelSpec, y: NDArray[Any], step: str) -> None:
    """Require that single precision, in which `step` learns and answers, is fine enough for the target.

    Raises
    ------
    PrecisionError
        When its step is above 1e-3 of the target's standard deviation.
    """
    spread = float(np.std(y))
    spacing = np.spacing(np.abs(y).astype(np.float32)).astype(np.float64)
    if spread == 0 or float(np.sqrt(np.mean(spacing**2))) <= MAX_TARGET_SPACING * spread:
        return
    raise PrecisionError(
        f"model '{spec.name}': target '{spec.target.column}': expected values that single precision can tell apart, in "
        f"which {step} learns and answers; found {len(np.unique(y)):,} distinct values around {np.median(y):.10g} with "
        f"a standard deviation of {spread:.4g}, where its step is {np.median(spacing):.4g}. Predict the difference to "
        f"an origin or use another unit in features.sql, such as {spec.target.column} - {np.floor(y.min()):.10g}; or "
        "use an estimator that answers in double precision, such as HistGradientBoostingRegressor.",
        spec.target.column,
    )


def evenly_spaced(rows: int, max_rows: int) -> NDArray[np.intp]:
    """Return at most `max_rows` positions among `rows` rows, at even distances, the first and the last included."""
    return np.unique(np.linspace(0, rows - 1, min(rows, max_rows)).astype(np.intp))


def _column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    return file.read(columns=[name]).column(name)


def _rows(file: pq.ParquetFile, spec: ModelSpec, period: Period) -> pa.Table:
    """Return the rows of `period`, read batch by batch."""
    kept = []
    for batch in file.iter_batches():
        found = batch.filter(within(batch.column(spec.event_time), period))
        if found.num_rows:
            kept.append(found)
    return pa.Table.from_batches(kept, schema=file.schema_arrow).combine_chunks()


def _signature(spec: ModelSpec, features: tuple[Feature, ...]) -> ModelSignature:
    return ModelSignature(
        model=spec.name,
        task=spec.task,
        entity_key=spec.entity_key,
        event_time=spec.event_time,
        features=features,
        classes=spec.target.classes,
        target=spec.target.column,
    )


def _labels(spec: ModelSpec, target: pa.ChunkedArray) -> NDArray[np.int64] | NDArray[np.float64]:
    if not spec.target.classes:
        return np.asarray(target.to_numpy(), dtype=np.float64)
    codes = pc.index_in(target, value_set=pa.array(spec.target.classes))
    return np.asarray(pc.fill_null(codes, -1).to_numpy(), dtype=np.int64)


def _check_digest(snapshot: SnapshotRef) -> None:
    found = file_digest(Path(snapshot.path))
    if found != snapshot.digest:
        raise ArtifactError(
            f"{snapshot.path}: expected SHA-256 {snapshot.digest[:12]}…; found {found[:12]}…. "
            "The snapshot was changed after it was taken: run the DAG again from its task `snapshot`."
        )


def _check_numbers(spec: ModelSpec, feature: Feature, column: pa.ChunkedArray) -> None:
    """Reject NaN, which the matrix would hold like a null, and what single precision holds as infinity."""
    if not pa.types.is_floating(column.type):
        return
    if nan := pc.sum(pc.is_nan(column)).as_py():
        raise PrecisionError(
            f"model '{spec.name}': feature '{feature.name}': expected numbers or null; found NaN in {nan:,} row(s). "
            f"Return null for it in features.sql: nullif({feature.name}, 'NaN').",
            feature.name,
        )
    if beyond := pc.sum(pc.greater(pc.abs(column), MAX_FLOAT32)).as_py():
        raise PrecisionError(
            f"model '{spec.name}': feature '{feature.name}': expected numbers within single precision, up to "
            f"{MAX_FLOAT32:.2g}; found infinity or a larger number in {beyond:,} row(s). "
            f"Return null or a bound for it in features.sql, such as least({feature.name}, 1e6).",
            feature.name,
        )


def _check_categories(spec: ModelSpec, learned: Feature) -> None:
    if feature_type(learned).learned_nothing:
        raise NotEnoughDataError(
            f"model '{spec.name}': feature '{learned.name}': expected categories to learn in the training rows; found "
            "null in every row. Mend the column in features.sql, remove the feature from spec.py, or declare its "
            "`categories`.",
            learned.name,
        )


def _check_precision(spec: ModelSpec, declared: FeatureType[Any], train: pa.ChunkedArray) -> None:
    """Reject a feature whose values merge in single precision, in which models are served."""
    merged = declared.merged_values(train)
    if merged is None:
        return
    distinct, kept, median = merged
    if kept < (1 - MAX_MERGED_SHARE) * distinct:
        raise PrecisionError(
            f"model '{spec.name}': feature '{declared.feature.name}': expected values that single precision can tell "
            f"apart; found {distinct:,} distinct values that become {kept:,} (around {median:,.0f}). "
            "Subtract an origin or use a coarser unit in features.sql, such as days since the start of the year "
            "for seconds since 1970.",
            declared.feature.name,
        )


def _check_target(spec: ModelSpec, y_train: NDArray[Any], y_holdout: NDArray[Any]) -> None:
    for part, y in (("training", y_train), ("holdout", y_holdout)):
        if spec.target.classes:
            _check_declared(spec, part, y)
        else:
            _check_values(spec, part, y)
    if spec.target.classes:
        _check_classes(spec, y_train)


def _check_declared(spec: ModelSpec, part: str, y: NDArray[np.int64]) -> None:
    if undeclared := int((y < 0).sum()):
        raise TargetError(
            spec.name,
            spec.target.column,
            part,
            f"expected one of {', '.join(spec.target.classes)}; found another value in {undeclared:,} row(s)",
            "Declare the class in spec.py, or return null in features.sql for rows without a valid label.",
        )


def _check_values(spec: ModelSpec, part: str, y: NDArray[np.float64]) -> None:
    nan, infinite = int(np.isnan(y).sum()), int(np.isinf(y).sum())
    if nan or infinite:
        name = spec.target.column
        raise TargetError(
            spec.name,
            name,
            part,
            f"expected numbers; found NaN in {nan:,} and infinity in {infinite:,} row(s)",
            "Return null for them in features.sql, and the rows are left out of training: "
            f"CASE WHEN {name} BETWEEN -1e300 AND 1e300 THEN {name} END.",
        )
    largest = float(np.abs(y).max())
    if largest > MAX_FLOAT32:
        raise PrecisionError(
            f"model '{spec.name}': target '{spec.target.column}': expected values within single precision, up to "
            f"{MAX_FLOAT32:.2g}; found {largest:.4g}. Use another unit in features.sql, or its logarithm.",
            spec.target.column,
        )


def _check_classes(spec: ModelSpec, y_train: NDArray[Any]) -> None:
    missing = [label for index, label in enumerate(spec.target.classes) if not (y_train == index).any()]
    if missing:
        raise NotEnoughDataError(
            f"model '{spec.name}': expected training rows of every class; found none of {', '.join(missing)}. "
            "Lengthen `window.train` in spec.py, or mend the target in features.sql.",
            spec.target.column,
        )
