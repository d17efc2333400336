"""The bytes and headers of an inference request become a layout, and the tensors' data columns."""

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
MAX_CACHED_BYTES: Final = 16_384  # bytes of a JSON part


class LayoutCache:
    """Reads the JSON part of requests, and remembers what the latest ones said.

    Who asks for the same features and as many rows again sends the same JSON part, and only other tensors: reading
    and checking it takes longer than all that is done with the JSON of the answer.

    Parameters
    ----------
    most_rows, most_depth : int
        What is taken at most, of rows and of levels of JSON.
    """

    def __init__(self, most_rows: int, most_depth: int) -> None:
        self._most_rows, self._most_depth = most_rows, most_depth
        # Filled and emptied under the interpreter's lock, one entry at a time; a lost one is read again.
        self._kept: dict[tuple[str, bytes], RequestLayout] = {}

    def read(self, body: bytes, head_bytes: str | None, loaded: LoadedModel) -> tuple[RequestLayout, memoryview]:
        """Return what the JSON part says, and the bytes that follow it.

        Parameters
        ----------
        body : bytes
            Not compressed.
        head_bytes : str or None
            The header ``Inference-Header-Content-Length``: so many bytes of JSON stand before the binary tensors.
        loaded : LoadedModel
            Who is asked.

        Raises
        ------
        MalformedBodyError
            If the JSON part is nested too deeply.
        TensorsRejectedError
            If it is not a request of the protocol, or its tensors are not those that the model takes.
        PayloadTooLargeError
            If there are too many rows.
        """
        size = head_size(body, head_bytes)
        key = (loaded.artifact_digest, body[:size])
        kept = head_bytes is not None and size <= MAX_CACHED_BYTES
        layout = self._kept.get(key) if kept else None
        if layout is None:
            layout = build_layout(read_head(key[1], self._most_depth), loaded.scorer.signature, self._most_rows)
            if kept and layout.lasts:
                if len(self._kept) >= MAX_CACHED:
                    self._kept.clear()
                self._kept[key] = layout
        return layout, memoryview(body)[size:]


def columns_of(
    layout: RequestLayout, rest: memoryview, loaded: LoadedModel
) -> tuple[Mapping[str, Column], Sequence[ColumnBlock]]:
    """Return the tensors' data, one column a feature, each of as many values as the layout has rows.

    Returns
    -------
    columns : mapping of str to Column
    tables : sequence of ColumnBlock
        Where columns lie together.

    Raises
    ------
    TensorsRejectedError
        If they are not what the layout says.
    """
    if len(rest) != layout.length:
        told = f"binary_data_size: the inputs have {layout.length} byte(s) after the JSON part; found {len(rest)}"
        raise TensorsRejectedError([told])
    codecs = loaded.columns.codecs
    columns: dict[str, Column] = {}
    faults: list[str] = []
    for each in layout.alone:
        try:
            columns[each.head.name] = _column(each, rest, codecs.get(each.head.name))
        except InvalidTensorError as unfit:
            faults.append(f"input '{each.head.name[:60]}': {unfit}")
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
