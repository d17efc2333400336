"""An inference: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.errors import UnscorableRowsError
from include.inference import Column, at_path
from model_service.http.request_context import RequestContext
from model_service.http.responses import to_predictions
from model_service.models.registry import LoadedModel
from model_service.observability.prediction_log import MAX_ROWS_PER_REQUEST
from model_service.oip.request import LayoutCache, columns_of
from model_service.oip.response import EncodedResponse, OutputWriter


def infer(
    loaded: LoadedModel, body: bytes, head_bytes: str | None, context: RequestContext, layouts: LayoutCache
) -> EncodedResponse:
    """ResponseSpec an inference request; see `LayoutCache.read` and `columns_of` for its format and errors.

    Raises
    ------
    RowsRejectedError
        If values do not match the model's signature, or it has no answer for a row.
    """
    layout, rest = layouts.read(body, head_bytes, loaded)
    columns, tables = columns_of(layout, rest, loaded)
    context.rows = layout.rows
    context.mark("decode")
    matrix = loaded.columns.encode(columns, layout.rows, layout.path_of, tables)
    context.mark("validate")
    try:
        scores = loaded.scorer.score(matrix)
    except UnscorableRowsError as error:
        raise at_path(error, "inputs.*[{}]".format) from None
    context.mark("predict")
    head = (loaded.model, str(loaded.version), layout.id)
    response = OutputWriter(loaded.scorer.signature).write(head, scores, layout.outputs)
    context.mark("encode")
    if context.capture_payload:
        context.inputs = _rows_of(columns)
        first = scores[:MAX_ROWS_PER_REQUEST]
        context.outputs = to_predictions(loaded.classes, first, loaded.scorer.labels(first))
    return response


def _rows_of(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Return the first rows of `columns` as JSON values, for the logs."""
    first = [_plain(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*first, strict=True)]


def _plain(column: Column) -> list[Any]:
    values = column[:MAX_ROWS_PER_REQUEST]
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in listed]
