"""One inference: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.inference import Column
from model_service.answers import predictions_of
from model_service.observing.prediction_log import MOST_ROWS_OF_A_REQUEST
from model_service.oip.answer import InferAnswer, OutputWriter
from model_service.oip.request import Layouts, columns_of
from model_service.slots import LoadedModel
from model_service.visit import Visit


def infer(loaded: LoadedModel, body: bytes, head_bytes: str | None, visit: Visit, layouts: Layouts) -> InferAnswer:
    """Answer an inference request; see `Layouts.read` and `columns_of` for its form and the errors.

    Raises
    ------
    RowsRejectedError
        If values are not what the model's signature allows.
    """
    layout, rest = layouts.read(body, head_bytes, loaded)
    columns, tables = columns_of(layout, rest, loaded)
    visit.rows = layout.rows
    visit.lap("decode")
    matrix = loaded.columns.encode(columns, layout.rows, layout.path_of, tables)
    visit.lap("validate")
    scores = loaded.scorer.score(matrix)
    visit.lap("predict")
    about = (loaded.model, str(loaded.version), layout.id)
    answer = OutputWriter(loaded.scorer.signature).write(about, scores, layout.outputs)
    visit.lap("encode")
    if visit.wants_values:
        visit.inputs = _rows_of(columns)
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
