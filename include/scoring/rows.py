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
        All finite; the classes in the order of the version's signature.
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


def score_batches(batches: Iterable[pa.RecordBatch], scorer: Scorer) -> Iterator[ScoredBatch]:
    """Yield the scores of each batch of source rows, which the version's own query gave.

    Raises
    ------
    ReconciliationError
        When a row has no key or no time, or the model has no answer for it.
    """
    signature = scorer.signature
    key, time = signature.entity_key, signature.event_time
    for batch in batches:
        keys, times = batch.column(key.column), batch.column(time)
        for name, column in ((key.column, keys), (time, times)):
            if column.null_count:
                raise ReconciliationError(
                    f"model '{signature.model}': expected '{name}' of every row; found {column.null_count:,} rows "
                    "without it. Nothing was published. The source has changed since its validation: run again from "
                    "`validate`."
                )
        try:
            scores = scorer.score(encode_batch(batch, signature))
        except UnscorableRowsError as error:
            raise ReconciliationError(
                f"model '{signature.model}': expected rows for which the model has an answer; found "
                f"{len(error.rows):,} in a batch for which it has none, the first with key "
                f"{keys[error.rows[0]].as_py()!r} ({error}). Nothing was published. Check the features of that row, "
                "and which values spec.py allows."
            ) from error
        yield ScoredBatch(
            keys=keys.cast(pa.string() if key.type == "text" else pa.int64()),
            times=numpy_values(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), np.int64),
            scores=scores,
            labels=scorer.labels(scores),
        )
