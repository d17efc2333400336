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

from include.errors import ArtifactError, NotEnoughDataError, PrecisionError
from include.inference.feature_types import FeatureType, feature_type
from include.inference.model_signature import ModelSignature
from include.provenance import file_digest
from include.records import Period, SnapshotRef
from include.spec import Feature, ModelSpec
from include.training.snapshot import within

MAX_MERGED_SHARE = 0.05


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
        When a feature's values merge in single precision.
    NotEnoughDataError
        When the training rows lack a class.
    """
    _check_digest(snapshot)
    file = pq.ParquetFile(snapshot.path, memory_map=True)
    times = _column(file, spec.event_time)
    train, holdout = within(times, snapshot.split.train), within(times, snapshot.split.holdout)
    labels = _column(file, spec.target.column)
    y_train = _labels(spec, labels.filter(train))
    _check_classes(spec, y_train)
    x_train = np.empty((len(y_train), len(spec.features)), dtype=np.float32)
    x_holdout = np.empty((pc.sum(holdout).as_py() or 0, len(spec.features)), dtype=np.float32)
    features = []
    for position, feature in enumerate(spec.features):
        column = _column(file, feature.name)
        seen = column.filter(train)
        declared = feature_type(feature)
        _check_precision(spec, declared, seen)
        learned = declared.learn(seen)
        encode = feature_type(learned).arrow_encoder()
        x_train[:, position] = encode(seen)
        x_holdout[:, position] = encode(column.filter(holdout))
        features.append(learned)
    return TrainingData(
        signature=_signature(spec, tuple(features)),
        x_train=x_train,
        y_train=y_train,
        x_holdout=x_holdout,
        y_holdout=_labels(spec, labels.filter(holdout)),
        holdout=_rows(file, spec, snapshot.split.holdout),
    )


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
            "for seconds since 1970."
        )


def _check_classes(spec: ModelSpec, y_train: NDArray[np.int64] | NDArray[np.float64]) -> None:
    missing = [label for index, label in enumerate(spec.target.classes) if not (y_train == index).any()]
    if missing:
        raise NotEnoughDataError(
            f"model '{spec.name}': expected training rows of every class; found none of {', '.join(missing)}. "
            "Lengthen `window.train` in spec.py, or mend the target in features.sql."
        )
