"""What every gate does: hold a figure against a bound, and say so in a sentence."""

from __future__ import annotations

from functools import singledispatch

from include.evaluation.intervals import quantile_of
from include.records import Difference, Evidence, GateResult
from include.spec import METRICS
from include.spec.base import SpecModel


@singledispatch
def weigh(gate: SpecModel, evidence: Evidence) -> GateResult:  # the signature of all
    """Weigh one gate; each kind registers its own way."""
    raise NotImplementedError(f"no way to weigh a gate of type {type(gate).__name__}")


def verdict(
    kind: str, metric: str, figure: float | None, bound: float | None, *, passed: bool, sentence: str
) -> GateResult:
    """Return one gate's result."""
    return GateResult(gate=kind, metric=metric, figure=figure, bound=bound, passed=passed, sentence=sentence)


def not_measured(kind: str, metric: str, bound: float | None, why: str = "") -> GateResult:
    """Return the result of a gate whose figure is missing: what was not measured was not passed."""
    because = f": {why}" if why else " on the holdout"
    sentence = f"{metric} could not be measured{because}, so it cannot pass."
    return verdict(kind, metric, None, bound, passed=False, sentence=sentence)


def gain(metric: str, value: float) -> float:
    """Return a difference of a metric such that more is better."""
    return value if METRICS[metric].higher_is_better else -value


def surely_gained(metric: str, difference: Difference, level: float) -> float:
    """Return the lower one-sided confidence bound of what was gained, at confidence ``1 - level``."""
    return gain(metric, difference.value) - quantile_of(1 - 2 * level, difference.freedom) * difference.error


def compared_in_words(value: float) -> str:
    """Return a difference in words: ``0.0100 below`` or ``equal to``."""
    if value == 0:
        return "equal to"
    return f"{abs(value):.4f} {'above' if value > 0 else 'below'}"
