"""Golden rows: rows of the holdout with their scores, which every load of the artifact must reproduce."""

from __future__ import annotations

from typing import Any

from include.errors import ConversionError
from include.inference import GoldenRow, RowEncoder, Scorer
from include.training.data import TrainingData, evenly_spaced

MAX_GOLDEN_ROWS = 20


def golden_rows(scorer: Scorer, data: TrainingData) -> tuple[GoldenRow, ...]:
    """Take evenly spaced rows of the holdout, score them as a client would send them, and keep the scores.

    Raises
    ------
    ConversionError
        When JSON and Arrow rows encode differently: batch and online would then disagree.
    """
    signature = scorer.signature
    positions = evenly_spaced(data.holdout.num_rows, MAX_GOLDEN_ROWS)
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
