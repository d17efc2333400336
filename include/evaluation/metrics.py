"""The functions of the metrics that `include.spec.metrics` names: values by scikit-learn, and their resampling.

A new metric is one `MetricFunction` here and one `Metric` there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.delong import error_by_block, influences
from include.evaluation.predictions import Floats, Predictions, Truth
from include.evaluation.resampling import Resamples, ratio, resampled_average_precision
from include.spec import METRICS, Task

_SMALLEST = np.finfo(np.float64).eps  # scikit-learn clips probabilities there before it takes the logarithm


@dataclass(frozen=True, slots=True)
class MetricFunction:
    """How a metric and its uncertainty are computed.

    Attributes
    ----------
    name : str
        A name of `include.spec.METRICS`.
    value : callable
        The value on all rows.
    resampled : callable or None
        The values of all resamples, shape (n_resamples,).
    influence : callable or None
        Used instead if there is a closed form: the influence of each row on the value, shape (n_samples,).
    needs_every_class : bool
        Whether the value is defined only if every class has a row.
    """

    name: str
    value: Callable[[Predictions], float]
    resampled: Callable[[Resamples], Floats] | None = None
    influence: Callable[[Predictions], Floats] | None = None
    needs_every_class: bool = False

    @property
    def method(self) -> str:
        """How the standard error is estimated."""
        return "bootstrap by block" if self.influence is None else "delong by block"

    def variation(self, resamples: Resamples) -> Floats:
        """Return the input of `standard_error`; for a difference of two models, the difference of their inputs."""
        if self.influence is not None:
            return self.influence(resamples.predictions)
        assert self.resampled is not None  # noqa: S101  # one of the two is always given
        return self.resampled(resamples)

    def standard_error(self, variation: Floats, blocks: Blocks) -> float | None:
        """Return the standard error; None when it is not defined on these rows."""
        if blocks.count < 2:
            return None
        if self.influence is not None:
            return error_by_block(variation, blocks.of_row)
        seen = variation[np.isfinite(variation)]
        # A bootstrap over n blocks sees (n - 1) / n of their variance (Efron, Tibshirani 1993, section 5.3).
        return float(np.std(seen) * np.sqrt(blocks.count / (blocks.count - 1))) if len(seen) else None


# -- sums over rows --------------------------------------------------------------------------------


def _rows(found: Predictions) -> Floats:
    return np.ones(len(found.truth))


def _log_losses(found: Predictions) -> Floats:
    of_truth = found.probabilities[np.arange(len(found.classes)), found.classes]
    return np.asarray(-np.log(np.clip(of_truth, _SMALLEST, 1.0)))


def _squared_distances(found: Predictions) -> Floats:
    squared = (found.probabilities - found.is_true) ** 2
    return np.asarray(squared[:, 1] if found.task == "binary" else squared.sum(axis=1))


def _true_by_class(found: Predictions) -> NDArray[np.bool_]:
    return found.is_true


def _predicted_by_class(found: Predictions) -> NDArray[np.bool_]:
    return found.is_predicted


def _right_by_class(found: Predictions) -> NDArray[np.bool_]:
    return found.is_true & found.is_predicted


def _selected(found: Predictions) -> NDArray[np.bool_]:
    return found.selected


def _selected_and_positive(found: Predictions) -> NDArray[np.bool_]:
    return found.selected & found.is_true[:, 1]


def _gaps_by_bin(found: Predictions) -> Floats:
    predicted, observed = found.calibration
    return np.asarray(found.calibration_bins * (predicted - observed)[:, None])


def _rows_by_bin(found: Predictions) -> NDArray[np.bool_]:
    return found.calibration_bins


def _absolute_errors(found: Predictions) -> Floats:
    return np.abs(found.errors)


def _squared_errors(found: Predictions) -> Floats:
    return found.errors**2


def _values(found: Predictions) -> Floats:
    # The total sum of squares is the same for values less any number; of large ones, the squares would swallow it.
    values = found.truth.astype(np.float64)
    return np.asarray(values - values.mean())


def _squared_values(found: Predictions) -> Floats:
    return _values(found) ** 2


def _pinball_losses(found: Predictions) -> Floats:
    return np.maximum(-found.quantile * found.errors, (1 - found.quantile) * found.errors)


# -- the metrics of resamples ----------------------------------------------------------------------


def _mean_of(terms: Callable[[Predictions], Floats]) -> Callable[[Resamples], Floats]:
    return lambda resamples: resamples.sums(terms) / resamples.sums(_rows)


def _resampled_accuracy(resamples: Resamples) -> Floats:
    return np.asarray(resamples.sums(_right_by_class).sum(axis=1) / resamples.sums(_rows))


def _resampled_f1(resamples: Resamples) -> Floats:
    positive = resamples.sums(_true_by_class)[:, 1]
    return ratio(2 * resamples.sums(_selected_and_positive), positive + resamples.sums(_selected))


def _resampled_macro_f1(resamples: Resamples) -> Floats:
    both = resamples.sums(_true_by_class) + resamples.sums(_predicted_by_class)
    return np.asarray(ratio(2 * resamples.sums(_right_by_class), both).mean(axis=1))


def _resampled_ece(resamples: Resamples) -> Floats:
    return np.asarray(np.abs(resamples.sums(_gaps_by_bin)).sum(axis=1) / resamples.sums(_rows))


def _resampled_mce(resamples: Resamples) -> Floats:
    return np.asarray(ratio(np.abs(resamples.sums(_gaps_by_bin)), resamples.sums(_rows_by_bin)).max(axis=1))


def _resampled_r2(resamples: Resamples) -> Floats:
    total = resamples.sums(_squared_values) - resamples.sums(_values) ** 2 / resamples.sums(_rows)
    return 1 - ratio(resamples.sums(_squared_errors), total)


# -- the metrics of all rows -----------------------------------------------------------------------


def _roc_auc(found: Predictions) -> float:
    from sklearn.metrics import roc_auc_score

    if found.task == "binary":
        return float(roc_auc_score(found.classes, found.positive))
    return float(roc_auc_score(found.classes, found.probabilities, multi_class="ovr", labels=found.labels))


def _average_precision(found: Predictions) -> float:
    from sklearn.metrics import average_precision_score

    if found.task == "binary":
        return float(average_precision_score(found.classes, found.positive))
    return float(average_precision_score(found.is_true, found.probabilities))


def _log_loss(found: Predictions) -> float:
    from sklearn.metrics import log_loss

    return float(log_loss(found.classes, found.probabilities, labels=found.labels))


def _brier(found: Predictions) -> float:
    from sklearn.metrics import brier_score_loss

    if found.task == "binary":
        return float(brier_score_loss(found.classes, found.positive))
    # Brier's original multi-class score (Brier, 1950): the squared distance to the true class.
    return float(_squared_distances(found).mean())


def _accuracy(found: Predictions) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(found.classes, found.predicted))


def _f1(found: Predictions) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(found.classes, found.selected, zero_division=0.0))


def _f1_by(average: str) -> Callable[[Predictions], float]:
    def value(found: Predictions) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(found.classes, found.predicted, labels=found.labels, average=average, zero_division=0.0))

    return value


def _mae(found: Predictions) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(found.truth, found.values))


def _rmse(found: Predictions) -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(found.truth, found.values))


def _r2(found: Predictions) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(found.truth, found.values))


def _pinball(found: Predictions) -> float:
    from sklearn.metrics import mean_pinball_loss

    return float(mean_pinball_loss(found.truth, found.values, alpha=found.quantile))


def _auc_influence(found: Predictions) -> Floats:
    return influences(found.classes, found.probabilities)[1]


METRIC_FUNCTIONS: Mapping[str, MetricFunction] = {
    function.name: function
    for function in (
        MetricFunction("roc_auc", _roc_auc, influence=_auc_influence, needs_every_class=True),
        MetricFunction("average_precision", _average_precision, resampled_average_precision, needs_every_class=True),
        MetricFunction("log_loss", _log_loss, _mean_of(_log_losses)),
        MetricFunction("brier", _brier, _mean_of(_squared_distances)),
        MetricFunction("ece", lambda found: found.calibration_errors[0], _resampled_ece),
        MetricFunction("mce", lambda found: found.calibration_errors[1], _resampled_mce),
        MetricFunction("f1", _f1, _resampled_f1),
        MetricFunction("accuracy", _accuracy, _resampled_accuracy),
        MetricFunction("macro_f1", _f1_by("macro"), _resampled_macro_f1),
        # With one label a row, false positives are false negatives of another class: micro F1 is the accuracy.
        MetricFunction("micro_f1", _f1_by("micro"), _resampled_accuracy),
        MetricFunction("mae", _mae, _mean_of(_absolute_errors)),
        MetricFunction("rmse", _rmse, lambda resamples: np.sqrt(_mean_of(_squared_errors)(resamples))),
        MetricFunction("r2", _r2, _resampled_r2),
        MetricFunction("pinball", _pinball, _mean_of(_pinball_losses)),
    )
}

if METRIC_FUNCTIONS.keys() != METRICS.keys():
    raise ImportError(
        "every metric of include.spec.metrics needs exactly one MetricFunction; found without a counterpart: "
        f"{', '.join(sorted(METRIC_FUNCTIONS.keys() ^ METRICS.keys()))}"
    )


def values_of(predictions: Predictions, only: Iterable[str] | None = None) -> dict[str, float]:
    """Compute the metrics of a task.

    Parameters
    ----------
    only : iterable of str, optional
        The requested metrics; all by default.

    Returns
    -------
    dict of str to float
        A metric that is not defined on these rows, such as the ROC AUC of a single class, is left out. A gate on it
        then fails.
    """
    requested = METRICS.keys() if only is None else set(only)
    found = {}
    for name, function in METRIC_FUNCTIONS.items():
        if name not in requested or predictions.task not in METRICS[name].tasks:
            continue
        if function.needs_every_class and not predictions.has_every_class:
            continue
        value = function.value(predictions)
        if np.isfinite(value):
            found[name] = value
    return found


def measure(
    task: Task,
    truth: Truth,
    scores: Floats,
    *,
    threshold: float | None = None,
    quantile: float = 0.5,
    only: Iterable[str] | None = None,
) -> dict[str, float]:
    """Compute the metrics of `scores`; see `Predictions` for the parameters and `values_of` for the result."""
    return values_of(Predictions(task, truth, scores, threshold, quantile), only)
