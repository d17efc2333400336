"""Record batches become matrices, by the same rules as `RowEncoder` applies to JSON.

Kept out of the package's ``__init__``: it needs pyarrow, which the service does not have.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.inference.signature import Signature
from include.spec import Boolean, Categorical, Numeric

MISSING_CODE = -1.0


def encode_batch(batch: pa.RecordBatch | pa.Table, signature: Signature) -> NDArray[np.float32]:
    """Encode rows that passed their data contract.

    Parameters
    ----------
    batch : pyarrow.RecordBatch or pyarrow.Table
        With a column for each feature of the signature.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_features)
        See `include.spec.Columns` for the encoding.
    """
    matrix = np.empty((batch.num_rows, len(signature.features)), dtype=np.float32)
    for position, feature in enumerate(signature.features):
        matrix[:, position] = encode_column(batch.column(feature.name), feature)
    return matrix


def encode_column(column: pa.Array | pa.ChunkedArray, feature: Numeric | Categorical | Boolean) -> NDArray[np.float32]:
    """Encode the values of one feature, a categorical one by its dictionary; shape (n_samples,)."""
    if feature.kind == "categorical":
        codes = pc.index_in(column, value_set=pa.array(feature.categories, type=pa.string()))
        return _numbers(codes, missing=MISSING_CODE)
    return _numbers(column, missing=np.nan)


def _numbers(column: pa.Array | pa.ChunkedArray, missing: float) -> NDArray[np.float32]:
    return np.asarray(
        pc.fill_null(pc.cast(column, pa.float64()), missing).to_numpy(zero_copy_only=False), dtype=np.float32
    )
