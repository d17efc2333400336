"""Every metric of every model with its confidence interval, and the paired differences to the candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from include.evaluation.blocks import Blocks
from include.evaluation.metrics import METRIC_FUNCTIONS, values_of
from include.evaluation.predictions import Floats, Predictions, Truth
from include.evaluation.resampling import Resamples
from include.progress import SILENT, Progress
from include.records import Difference, Interval
from include.spec import METRICS, Task


@dataclass(frozen=True, slots=True)
class IntervalConfig:
    """Configuration of the intervals: the declared `include.spec.EvaluationConfig`, and the seed."""

    confidence_level: float = 0.95
    n_resamples: int = 2000
    quantile: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Estimates:
    """The metrics of one model on some rows.

    Attributes
    ----------
    values : dict of str to float
    variation : dict of str to ndarray
        For each metric, the input of its standard error: the influences of the rows (``roc_auc``), or the values of all
        resamples. It is paired with the other models' row by row, or resample by resample.
    """

    values: dict[str, float]
    variation: dict[str, Floats]


def measure_all(
    task: Task,
    truth: Truth,
    scores: Mapping[str, Floats],
    blocks: Blocks,
    config: IntervalConfig,
    *,
    thresholds: Mapping[str, float] | None = None,
    only: Iterable[str] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Estimates]:
    """Measure several models on the same rows and the same resamples.

    Parameters
    ----------
    scores : mapping of str to ndarray
        By model; each of shape (n_samples, n_classes) or (n_samples, 1).
    thresholds : mapping of str to float, optional
        Decision thresholds, by model; by default a row is of its most probable class.
    only : iterable of str, optional
        The requested metrics; all by default.
    progress : Progress
    """
    drawn = blocks.resample(config.n_resamples, config.seed)
    requested = None if only is None else set(only)
    found: dict[str, Estimates] = {}
    for model, predicted in scores.items():
        predictions = Predictions(task, truth, predicted, (thresholds or {}).get(model), config.quantile)
        values = values_of(predictions, requested)
        resamples = Resamples(predictions, blocks, drawn)
        variation = {}
        for done, name in enumerate(values, 1):
            variation[name] = METRIC_FUNCTIONS[name].variation(resamples)
            progress.report(f"resamples ({model})", done * len(drawn), len(values) * len(drawn))
        found[model] = Estimates(values, variation)
    return found


def intervals_of(estimates: Estimates, blocks: Blocks, config: IntervalConfig) -> dict[str, Interval]:
    """Return the two-sided confidence interval of each metric, cut to its range; omit metrics that have none."""
    found = {}
    for name, value in estimates.values.items():
        error = METRIC_FUNCTIONS[name].standard_error(estimates.variation[name], blocks)
        if error is None:
            continue
        reach = critical_value(config.confidence_level, blocks.count - 1) * error
        metric = METRICS[name]
        found[name] = Interval(low=max(value - reach, metric.minimum), high=min(value + reach, metric.maximum))
    return found


def differences_of(
    estimates: Estimates, reference: Estimates, blocks: Blocks, config: IntervalConfig
) -> dict[str, Difference]:
    """Return the paired difference, the model's value minus the reference's, of each metric that both have."""
    found = {}
    for name, value in estimates.values.items():
        if name not in reference.values:
            continue
        function = METRIC_FUNCTIONS[name]
        error = function.standard_error(estimates.variation[name] - reference.variation[name], blocks)
        if error is None:
            continue
        reach = critical_value(config.confidence_level, blocks.count - 1) * error
        difference = value - reference.values[name]
        found[name] = Difference(
            value=difference,
            low=difference - reach,
            high=difference + reach,
            standard_error=error,
            degrees_of_freedom=blocks.count - 1,
            method=function.method,
        )
    return found


def critical_value(confidence_level: float, degrees_of_freedom: int | None) -> float:
    """Return the number of standard errors by which a two-sided interval extends to each side.

    With `degrees_of_freedom`, from Student's t distribution: with few blocks, their spread is itself uncertain (Efron,
    Tibshirani 1993, section 12.4). None: from the normal distribution.
    """
    from scipy.stats import norm, t

    tail = 1 - (1 - confidence_level) / 2
    return float(norm.ppf(tail) if degrees_of_freedom is None else t.ppf(tail, max(1, degrees_of_freedom)))
