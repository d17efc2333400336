"""Batches of source rows become batches of score rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from include.errors import ReconciliationError
from include.inference import Scorer
from include.inference.batch import encode_batch
from include.spec import ModelSpec


def score_batches(batches: Iterable[pa.RecordBatch], spec: ModelSpec, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    """Yield ``entity_key, event_time, <answer columns>[, predicted]`` for each batch of source rows.

    Raises
    ------
    ReconciliationError
        When the model gives a row no finite answer.
    """
    for batch in batches:
        scores = scorer.score(encode_batch(batch, scorer.signature))
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
            key = batch.column(spec.entity_key.column)[row].as_py()
            raise ReconciliationError(
                f"model '{spec.name}': expected a finite score for every row; found none for key {key!r}. "
                "Nothing was published. Look at that row's features; the estimator must answer missing values."
            )
        columns = {
            "entity_key": batch.column(spec.entity_key.column),
            "event_time": batch.column(spec.event_time),
        }
        names = [f"p_{label}" for label in scorer.signature.classes] or ["value"]
        columns |= {name: pa.array(scores[:, position]) for position, name in enumerate(names)}
        if scorer.signature.classes:
            labels = pa.array(scorer.signature.classes, type=pa.string())
            columns["predicted"] = labels.take(pa.array(scores.argmax(axis=1)))
        yield pa.RecordBatch.from_pydict(columns)
