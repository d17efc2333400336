"""Scoring of source rows, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.errors import ReconciliationError, UnscorableRowsError
from include.inference import Scorer
from include.inference.batch import encode_batch, numpy_values
from include.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Some rows with their scores.

    Parameters
    ----------
    keys : pyarrow.Array of string or int64
        Entity keys, none null.
    times : ndarray of int64, shape (n,)
        Event times in microseconds since 1970, UTC.
    scores : ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
        All finite.
    labels : ndarray of intp, shape (n,), or None
        Position of each row's class; None for a regression.
    """

    keys: pa.Array
    times: NDArray[np.int64]
    scores: NDArray[np.float64]
    labels: NDArray[np.intp] | None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.keys)


def score_batches(batches: Iterable[pa.RecordBatch], spec: ModelSpec, scorer: Scorer) -> Iterator[ScoredBatch]:
    """Yield the scores of each batch of source rows.

    Raises
    ------
    ReconciliationError
        When a row has no key or no time, or the model has no answer for it.
    """
    for batch in batches:
        keys, times = batch.column(spec.entity_key.column), batch.column(spec.event_time)
        for name, column in ((spec.entity_key.column, keys), (spec.event_time, times)):
            if column.null_count:
                raise ReconciliationError(
                    f"model '{spec.name}': expected '{name}' of every row; found {column.null_count:,} rows without "
                    "it. Nothing was published. The source has changed since its validation: run again from `validate`."
                )
        try:
            scores = scorer.score(encode_batch(batch, scorer.signature))
        except UnscorableRowsError as error:
            raise ReconciliationError(
                f"model '{spec.name}': expected rows for which the model has an answer; found {len(error.rows):,} in a "
                f"batch for which it has none, the first with key {keys[error.rows[0]].as_py()!r} ({error}). Nothing "
                "was published. Check the features of that row, and which values spec.py allows."
            ) from error
        yield ScoredBatch(
            keys=keys.cast(pa.string() if spec.entity_key.type == "text" else pa.int64()),
            times=numpy_values(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), np.int64),
            scores=scores,
            labels=scorer.labels(scores),
        )
