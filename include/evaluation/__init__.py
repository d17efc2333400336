"""How good is a candidate, and is that good enough? Values in, values out: no I/O here."""

from include.evaluation.comparison import evaluate
from include.evaluation.gates import decide
from include.evaluation.metrics import measure

__all__ = ["decide", "evaluate", "measure"]
