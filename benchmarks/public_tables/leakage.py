"""The gate `NoLeakage`, with its defaults, on any table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.evaluation.data_checks import univariate_strength
from include.evaluation.gates import evaluate_gate
from include.records import DataChecks, Evaluation, Evidence, GateResult
from include.spec import NoLeakage, Task

HOLDOUT_SHARE = 0.2


def judge(task: Task, features: Mapping[str, Any], target: Any) -> GateResult:
    """Evaluate the gate on rows in order of time, the last fifth of them as the holdout.

    Parameters
    ----------
    features : mapping of str to array_like
        Numbers, or the codes of categories, each of shape (n_samples,).
    target : array_like of shape (n_samples,)
        The classes' positions, or the values.
    """
    matrix = np.column_stack(list(features.values())).astype(np.float32)
    truth = np.asarray(target, dtype=np.float64 if task == "regression" else np.intp)
    border = round(len(truth) * (1 - HOLDOUT_SHARE))
    strengths = univariate_strength(
        task, list(features), (matrix[:border], truth[:border]), (matrix[border:], truth[border:])
    )
    checks = DataChecks(features=tuple(features), strengths=strengths)
    evaluation = Evaluation(model="m", rows=1, candidate={}, baseline={}, data=checks)
    return evaluate_gate(NoLeakage(), Evidence(evaluation=evaluation))
