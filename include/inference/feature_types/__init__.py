"""The feature types: each is one class, in a file of its own, with all that differs from type to type.

A new type is a declaration in `include.spec.features` (exported by `include.spec`), a subclass of
`FeatureType` in this folder, and its import below. No other code asks of which type a feature is.
"""

from include.inference.feature_types.base import (
    MAX_FLOAT32,
    EncodeValue,
    FeatureType,
    InvalidMask,
    InvalidValueError,
    feature_type,
)
from include.inference.feature_types.boolean import BooleanType
from include.inference.feature_types.categorical import CategoricalType
from include.inference.feature_types.numeric import NumericType

__all__ = [
    "MAX_FLOAT32",
    "BooleanType",
    "CategoricalType",
    "EncodeValue",
    "FeatureType",
    "InvalidMask",
    "InvalidValueError",
    "NumericType",
    "feature_type",
]
