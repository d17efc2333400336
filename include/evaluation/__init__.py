"""The evaluation of a candidate and the decision on it: functions of their arguments, without I/O.

`evaluate` measures candidate, champion and baseline on the same rows; `decide` compares the result
with the model's policy.
"""

from include.evaluation.comparison import EvaluationInput, evaluate
from include.evaluation.gates import decide
from include.evaluation.metrics import measure
from include.evaluation.row_matching import MatchedRows, match_rows

__all__ = ["EvaluationInput", "MatchedRows", "decide", "evaluate", "match_rows", "measure"]
