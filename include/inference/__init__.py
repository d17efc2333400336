"""An artifact becomes a `Scorer`: the one code path for batch and online answers.

A row of JSON becomes numbers in `RowEncoder`, columns of tensors do in `ColumnEncoder`, the numbers
become scores in `Scorer`. All read what they may expect from the artifact's `ModelSignature`. Nothing
here unpickles, and nothing here needs scikit-learn, pandas or pyarrow.
"""

from include.inference.columns import Column, ColumnBlock, ColumnEncoder
from include.inference.compatibility import by_classes, declaration_differences, request_differences
from include.inference.dictionary_codec import DictionaryCodec
from include.inference.divergence import BoundCheck, check_bounds, compute_divergence
from include.inference.encoder import RowEncoder
from include.inference.field_errors import MAX_FIELD_ERRORS, FieldError, at_path
from include.inference.model_signature import ModelSignature
from include.inference.progress import score_with_progress
from include.inference.scorer import GoldenRow, Scorer, check_golden, load_golden, load_scorer
from include.inference.string_columns import LENGTH_PREFIX, PADDING, FixedWidthStrings, OffsetStrings, length_prefixed
from include.inference.unknown_categories import UnknownCategoryCounter

__all__ = [
    "LENGTH_PREFIX",
    "MAX_FIELD_ERRORS",
    "PADDING",
    "BoundCheck",
    "Column",
    "ColumnBlock",
    "ColumnEncoder",
    "DictionaryCodec",
    "FieldError",
    "FixedWidthStrings",
    "GoldenRow",
    "ModelSignature",
    "OffsetStrings",
    "RowEncoder",
    "Scorer",
    "UnknownCategoryCounter",
    "at_path",
    "by_classes",
    "check_bounds",
    "check_golden",
    "compute_divergence",
    "declaration_differences",
    "length_prefixed",
    "load_golden",
    "load_scorer",
    "request_differences",
    "score_with_progress",
]
