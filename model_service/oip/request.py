"""Turns the bytes and headers of an inference request into a layout and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import numpy as np

from include.inference import Column, ColumnBlock, DictionaryCodec
from model_service.http.errors import TensorsRejectedError
from model_service.models.registry import LoadedModel
from model_service.oip.head import head_size, read_head
from model_service.oip.layout import RequestLayout, TensorSlice, build_layout
from model_service.oip.tensors import InvalidTensorError, from_binary, from_json

MAX_CACHED: Final = 64
MAX_CACHED_BYTES: Final = 16_384  # of the JSON part
MAX_OBJECTS: Final = 1_000  # in the JSON part, beside the inputs and their parameters


class LayoutCache:
    """Reads the JSON part of requests and caches the layouts of the latest ones.

    Clients that send the same features and number of rows again send the same JSON part with other tensors; reading
    and validating it takes longer than writing the JSON of the response.

    Parameters
    ----------
    max_rows, max_depth : int
        Maximum number of rows and of levels of JSON.
    """

    def __init__(self, max_rows: int, max_depth: int) -> None:
        self._max_rows, self._max_depth = max_rows, max_depth
        # Changed under the GIL, one entry at a time; a lost entry is only computed again.
        self._cached: dict[tuple[str, bytes], RequestLayout] = {}

    def read(self, body: bytes, head_bytes: str | None, loaded: LoadedModel) -> tuple[RequestLayout, memoryview]:
        """Return the layout and the bytes after the JSON part.

        Parameters
        ----------
        body : bytes
            The decompressed body.
        head_bytes : str or None
            The header ``Inference-Header-Content-Length``: the number of bytes before the binary tensors.
        loaded : LoadedModel
            The model.

        Raises
        ------
        MalformedBodyError
            If the JSON part is nested too deeply.
        TensorsRejectedError
            If it is not a request of the protocol, or its tensors do not match the model.
        PayloadTooLargeError
            If there are too many rows.
        """
        size = head_size(body, head_bytes)
        key = (loaded.artifact_digest, body[:size])
        cacheable = head_bytes is not None and size <= MAX_CACHED_BYTES
        layout = self._cached.get(key) if cacheable else None
        if layout is None:
            width = len(loaded.columns.types)
            head = read_head(key[1], self._max_depth, MAX_OBJECTS + 2 * width, self._max_rows, width)
            layout = build_layout(head, loaded.scorer.signature, loaded.columns.types, self._max_rows)
            if cacheable and layout.is_reusable:
                if len(self._cached) >= MAX_CACHED:
                    self._cached.clear()
                self._cached[key] = layout
        return layout, memoryview(body)[size:]


def columns_of(
    layout: RequestLayout, rest: memoryview, loaded: LoadedModel
) -> tuple[Mapping[str, Column], Sequence[ColumnBlock]]:
    """Return the data of the tensors as columns, one per feature, with a value per row.

    Returns
    -------
    columns : mapping of str to Column
    tables : sequence of ColumnBlock
        The columns that are stored together.

    Raises
    ------
    TensorsRejectedError
        If they do not match the layout.
    """
    if len(rest) != layout.length:
        raise TensorsRejectedError(
            [f"binary_data_size: the inputs have {layout.length} byte(s) after the JSON part; found {len(rest)}"]
        )
    codecs = loaded.columns.codecs
    columns: dict[str, Column] = {}
    faults: list[str] = []
    for each in layout.alone:
        try:
            columns[each.head.name] = _column(each, rest, codecs.get(each.head.name))
        except InvalidTensorError as error:
            faults.append(f"input '{each.head.name[:60]}': {error}")
    if faults:
        raise TensorsRejectedError(faults)
    if layout.matrix:
        (block,) = columns.values()
        names, values = loaded.columns.names, np.asarray(block).reshape(layout.tensors[0].head.shape).T
        return dict(zip(names, values, strict=True)), (ColumnBlock(np.arange(len(names)), values),)
    tables: list[ColumnBlock] = []
    for names, positions, dtype, place in layout.runs:
        values = np.frombuffer(rest[place], dtype=dtype).reshape(len(names), layout.rows)
        columns.update(zip(names, values, strict=True))
        tables.append(ColumnBlock(positions, values))
    return columns, tables


def _column(tensor: TensorSlice, rest: memoryview, codec: DictionaryCodec | None) -> Column:
    head, place = tensor
    if place is None:
        return from_json(head.data, head.datatype, head.shape)
    return from_binary(rest[place], head.datatype, prod(head.shape), codec)
