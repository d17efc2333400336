"""Golden rows: a few rows of the holdout with the answers that every later load must give again."""

from __future__ import annotations

from typing import Any

import numpy as np

from include.errors import ConversionError
from include.inference import GoldenRow, RowEncoder, Scorer
from include.training.data import TrainingData

MOST_GOLDEN = 20


def golden_rows(scorer: Scorer, data: TrainingData) -> tuple[GoldenRow, ...]:
    """Take rows at even distances over the holdout, ask them as a client would, and keep the answers.

    Raises
    ------
    ConversionError
        When JSON and Arrow rows encode differently: batch and online would then disagree.
    """
    signature = scorer.signature
    positions = np.unique(np.linspace(0, data.holdout.num_rows - 1, MOST_GOLDEN).astype(int))
    rows: list[dict[str, Any]] = data.holdout.select(list(signature.names)).take(positions).to_pylist()
    matrix = RowEncoder(signature).encode(rows)
    if matrix.tobytes() != data.x_holdout[positions].tobytes():
        raise ConversionError(
            signature.model,
            "encoding",
            "a row encodes differently as JSON and as a database row",
            "Compare the feature types of spec.py with what features.sql returns.",
        )
    answers = scorer.score(matrix)
    return tuple(
        GoldenRow(features=row, answer=tuple(answer)) for row, answer in zip(rows, answers.tolist(), strict=True)
    )
