"""How good is a candidate, and is that good enough? Values in, values out: no I/O here.

`evaluate` measures candidate, champion and baseline on the same rows; `decide` holds what it found
against the model's policy.
"""

from include.evaluation.comparison import Judged, evaluate
from include.evaluation.gates import decide
from include.evaluation.metrics import measure

__all__ = ["Judged", "decide", "evaluate", "measure"]
