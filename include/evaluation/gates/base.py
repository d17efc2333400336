"""Common parts of the gates: a value is compared with a limit, and a sentence reports both.

A sentence gives the values first, then the limit, then the verdict.
"""

from __future__ import annotations

from functools import singledispatch

from include.evaluation.intervals import critical_value
from include.records import Difference, Evidence, GateResult
from include.spec import METRICS, Gate


@singledispatch
def evaluate_gate(gate: Gate, evidence: Evidence) -> GateResult:  # the same signature for all kinds
    """Evaluate one gate with the function that its kind has registered."""
    raise NotImplementedError(f"no function to evaluate a gate of type {type(gate).__name__}")


def result(
    kind: str,
    metric: str,
    value: float | None,
    limit: float | None,
    *,
    passed: bool,
    found: str,
    limits: str | None = None,
) -> GateResult:
    """Return one gate's result.

    Parameters
    ----------
    found : str
        The values, such as ``roc_auc: candidate 0.7382``.
    limits : str, optional
        The limit, such as ``limit at least 0.7000``; None: there is nothing to compare with.
    """
    compared = f"{found}; {limits}" if limits else found
    sentence = f"{compared}: {'passed' if passed else 'failed'}"
    return GateResult(gate=kind, metric=metric, value=value, limit=limit, passed=passed, sentence=sentence)


def not_measured(kind: str, metric: str, limit: float | None, why: str = "no value on this holdout") -> GateResult:
    """Return the result of a gate whose value was not measured: it does not pass."""
    return result(kind, metric, None, limit, passed=False, found=f"{metric}: not measured ({why})")


def no_champion(kind: str, metric: str, value: float | None = None) -> GateResult:
    """Return the result of a comparison with the champion when there is none: the first candidate passes."""
    found = f"{metric}: no champion yet, so there is nothing to compare with"
    return result(kind, metric, value, None, passed=True, found=found)


def lower_confidence_bound(metric: str, difference: Difference, alpha: float) -> float:
    """Return the lower one-sided confidence bound of a gain, at confidence ``1 - alpha``."""
    critical = critical_value(1 - 2 * alpha, difference.degrees_of_freedom)
    return METRICS[metric].gain(difference.value) - critical * difference.standard_error
