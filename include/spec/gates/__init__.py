"""Gates: the requirements on a candidate before it is promoted.

A new kind of gate is a class in one of these modules, with its name in the module's ``__all__``, and a
function in `include.evaluation.gates` that evaluates it. The names below follow from the modules.
"""

from __future__ import annotations

from include.spec.base import Task
from include.spec.gates import artifact, data, groups, prediction_churn, quality
from include.spec.gates.artifact import *  # noqa: F403
from include.spec.gates.base import Gate
from include.spec.gates.data import *  # noqa: F403
from include.spec.gates.groups import *  # noqa: F403
from include.spec.gates.prediction_churn import *  # noqa: F403
from include.spec.gates.quality import *  # noqa: F403

__all__ = ["Gate", "default_gates"]
for _module in (artifact, data, groups, prediction_churn, quality):
    __all__ += _module.__all__


def default_minimum_labels(task: Task) -> data.MinimumLabels:
    """Return the minimum number of labels for a model that declares none."""
    return data.MinimumLabels(rows=500) if task == "regression" else data.MinimumLabels(rows=500, per_class=50)


def default_gates(task: Task) -> tuple[Gate, ...]:
    """Return the policy of a model that declares no gates: cautious, and the same for every model of a task."""
    about_data: tuple[Gate, ...] = (data.NoConstantFeature(), data.NoLeakage(), data.TrainingServingSkew())
    if task == "regression":
        # The scale of the target is unknown here, so the metric is without scale: the share of variance explained.
        return (
            default_minimum_labels(task),
            quality.BetterThanBaseline(metric="r2"),
            quality.NonInferiority(metric="r2", margin=0.02),
            quality.WithinHistory(metric="r2", min_spread=0.02),
            *about_data,
        )
    return (
        default_minimum_labels(task),
        quality.BetterThanBaseline(metric="log_loss"),
        quality.NonInferiority(metric="roc_auc", margin=0.01),
        quality.NonInferiority(metric="log_loss", margin=0.01),
        quality.Calibration(max_error=0.05),
        quality.WithinHistory(metric="roc_auc"),
        *about_data,
    )
