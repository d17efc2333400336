"""One inference: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.inference import Column
from model_service.answers import predictions_of
from model_service.observing.prediction_log import MOST_ROWS_OF_A_REQUEST
from model_service.oip.answer import InferAnswer, OutputWriter
from model_service.oip.request import request_of
from model_service.slots import LoadedModel
from model_service.visit import Visit


def infer(
    loaded: LoadedModel, body: bytes, head_bytes: str | None, visit: Visit, *, most_rows: int, most_depth: int
) -> InferAnswer:
    """Answer an inference request; see `request_of` for its form and the errors.

    Raises
    ------
    RowsRejectedError
        If values are not what the model's signature allows.
    """
    signature = loaded.scorer.signature
    request = request_of(body, head_bytes, signature, most_rows, most_depth)
    writer = OutputWriter(signature)
    writer.check(request.outputs)
    visit.rows = request.rows
    visit.lap("decode")
    matrix = loaded.columns.encode(request.columns, request.rows, request.path_of)
    visit.lap("validate")
    scores = loaded.scorer.score(matrix)
    visit.lap("predict")
    about = (loaded.model, str(loaded.version), request.id)
    answer = writer.write(about, scores, request.outputs, binary=request.binary)
    visit.lap("encode")
    if visit.wants_values:
        visit.inputs = _rows_of(request.columns)
        visit.outputs = predictions_of(loaded, scores[:MOST_ROWS_OF_A_REQUEST])
    return answer


def _rows_of(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Return the first rows of `columns` as JSON has them, for the logs."""
    first = [_plain(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*first, strict=True)]


def _plain(column: Column) -> list[Any]:
    values = column[:MOST_ROWS_OF_A_REQUEST]
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in listed]
