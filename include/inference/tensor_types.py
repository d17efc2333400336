"""The tensor types of the Open Inference Protocol, and NumPy's for them."""

from __future__ import annotations

from typing import Final

import numpy as np

# Little-endian, as the protocol has it. BYTES has no NumPy type: its elements differ in length.
NUMPY_TYPES: Final = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES: Final = "BYTES"
NUMBER_TYPES: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind in "iuf")
FLOAT_TYPES: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind == "f")
