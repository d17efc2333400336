"""Gates: the requirements on a candidate before it is promoted.

A new kind of gate is a class in one of these modules, with its name in the module's ``__all__``, and a
function in `include.evaluation.gates` that evaluates it. The names below follow from the modules.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

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


def default_gates(
    task: Task, *, replace: Sequence[Gate] = (), drop: Sequence[str] = (), add: Sequence[Gate] = ()
) -> tuple[Gate, ...]:
    """Return the policy of a model that declares no gates: cautious, and the same for every model of a task.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    replace : sequence of Gate
        Each takes the place of the default of the same kind (and metric, if it has one).
    drop : sequence of str
        Names of defaults to leave out: a kind, such as ``"no_leakage"``, or a kind and its metric, such as
        ``"non_inferiority:log_loss"``.
    add : sequence of Gate
        Gates beside the defaults.

    Raises
    ------
    ValueError
        If there is no such default; the names of all are in the message. `MinimumLabels` can only be replaced.

    Examples
    --------
    ``gates=default_gates("binary", replace=(NoLeakage(allowed=("balance",)),), drop=("calibration",))``
    """
    gates = {gate.name: gate for gate in _defaults(task)}
    for gate in replace:
        if gate.name not in gates:
            raise ValueError(_no_default("replace", gate.name, gates))
        gates[gate.name] = gate
    for name in drop:
        if name == "minimum_labels":
            raise ValueError("default_gates: minimum_labels cannot be dropped; replace it: MinimumLabels(rows=...)")
        dropped = [each for each in gates if name in (each, gates[each].kind)]
        if not dropped:
            raise ValueError(_no_default("drop", name, gates))
        for each in dropped:
            del gates[each]
    return (*gates.values(), *add)


def _no_default(parameter: str, name: str, gates: Collection[str]) -> str:
    return f"default_gates: {parameter} expects one of {', '.join(gates)}; found '{name}'"


def _defaults(task: Task) -> tuple[Gate, ...]:
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
