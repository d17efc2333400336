"""A snapshot becomes matrices: training and holdout, split by time, encoded by one signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from include.errors import ArtifactError, NotEnoughDataError, PrecisionError
from include.inference.batch import encode_batch
from include.inference.signature import Signature
from include.provenance import file_digest
from include.records import SnapshotRef
from include.spec import ModelSpec
from include.training.snapshot import within

MOST_MERGED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is fitted and judged.

    Attributes
    ----------
    x_train, x_holdout : ndarray of float32, shape (n_samples, n_features)
    y_train, y_holdout : ndarray, shape (n_samples,)
        Class indices (int64) in the order of the declared classes, or values (float64).
    holdout : pyarrow.Table
        The holdout rows as they were read.
    """

    signature: Signature
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64] | NDArray[np.float64]
    x_holdout: NDArray[np.float32]
    y_holdout: NDArray[np.int64] | NDArray[np.float64]
    holdout: pa.Table


def read_training_data(spec: ModelSpec, snapshot: SnapshotRef) -> TrainingData:
    """Read a snapshot and encode it.

    Dictionaries of categories are learned from the training rows alone, so that the holdout meets
    unknown categories as production will.

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
    rows = pq.read_table(snapshot.path)
    times = rows.column(spec.event_time)
    train = rows.filter(within(times, snapshot.split.train)).combine_chunks()
    holdout = rows.filter(within(times, snapshot.split.holdout)).combine_chunks()
    _check_precision(spec, train)
    signature = learn_signature(spec, train)
    y_train = _labels(spec, train)
    _check_classes(spec, y_train)
    return TrainingData(
        signature=signature,
        x_train=encode_batch(train, signature),
        y_train=y_train,
        x_holdout=encode_batch(holdout, signature),
        y_holdout=_labels(spec, holdout),
        holdout=holdout,
    )


def learn_signature(spec: ModelSpec, train: pa.Table) -> Signature:
    """Return the signature, with the dictionaries of categories that were declared or are found in `train`."""
    features = []
    for feature in spec.features:
        if feature.kind == "categorical":
            seen = feature.categories or pc.unique(train.column(feature.name)).drop_null().to_pylist()
            feature = feature.model_copy(update={"categories": tuple(sorted(set(seen)))})
        features.append(feature)
    return Signature(
        model=spec.name,
        task=spec.task,
        entity_key=spec.entity_key,
        event_time=spec.event_time,
        features=tuple(features),
        classes=spec.target.classes,
    )


def _labels(spec: ModelSpec, rows: pa.Table) -> NDArray[np.int64] | NDArray[np.float64]:
    target = rows.column(spec.target.column)
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


def _check_precision(spec: ModelSpec, train: pa.Table) -> None:
    """Refuse a feature that single precision, in which models are served, blurs."""
    for feature in spec.features:
        if feature.kind != "numeric":
            continue
        values = train.column(feature.name).drop_null().to_numpy()
        distinct, kept = np.unique(values), np.unique(values.astype(np.float32))
        if len(kept) < (1 - MOST_MERGED_SHARE) * len(distinct):
            raise PrecisionError(
                f"model '{spec.name}': feature '{feature.name}': expected values that single precision can tell apart; "
                f"found {len(distinct):,} distinct values that become {len(kept):,} (around {np.median(values):,.0f}). "
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
