"""An artifact becomes a `Scorer`: the one code path for batch and online answers.

A row of JSON becomes numbers in `RowEncoder`, columns of tensors do in `ColumnEncoder`, the numbers
become scores in `Scorer`. All read what they may expect from the artifact's `Signature`. Nothing
here unpickles, and nothing here needs scikit-learn, pandas or pyarrow.
"""

from include.inference.coded import Coder
from include.inference.columns import Column, ColumnEncoder, Table
from include.inference.divergence import Held, divergence_of, hold_to
from include.inference.encoder import RowEncoder
from include.inference.faults import MOST_FAULTS, Fault
from include.inference.scorer import GoldenRow, Scorer, check_golden, load_golden, load_scorer
from include.inference.signature import Signature
from include.inference.words import LENGTH, PADDING, EvenWords, SpreadWords, with_length

__all__ = [
    "LENGTH",
    "MOST_FAULTS",
    "PADDING",
    "Coder",
    "Column",
    "ColumnEncoder",
    "EvenWords",
    "Fault",
    "GoldenRow",
    "Held",
    "RowEncoder",
    "Scorer",
    "Signature",
    "SpreadWords",
    "Table",
    "check_golden",
    "divergence_of",
    "hold_to",
    "load_golden",
    "load_scorer",
    "with_length",
]
