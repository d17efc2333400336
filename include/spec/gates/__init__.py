"""Gates: what a candidate must show before it is promoted. Each is a word with its own bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.spec.base import Task
from include.spec.gates.artifact import ArtifactSize, Latency, Memory, OnnxParity, Reproducible
from include.spec.gates.data import (
    DataFreshness,
    ForbiddenColumns,
    HoldoutReuse,
    MinimumLabels,
    NoConstantFeature,
    NoLeakage,
    TrainingServingSkew,
)
from include.spec.gates.groups import FairnessGap, NoInferiorSlice, Rate, SliceThreshold
from include.spec.gates.metrics import HIGHER_IS_BETTER, Judged, Metric
from include.spec.gates.prediction_churn import Divergence
from include.spec.gates.quality import (
    AtLeast,
    AtMost,
    BetterThanBaseline,
    Calibration,
    NonInferiority,
    Superiority,
    WithinHistory,
)

__all__ = [
    "HIGHER_IS_BETTER",
    "ArtifactSize",
    "AtLeast",
    "AtMost",
    "BetterThanBaseline",
    "Calibration",
    "DataFreshness",
    "Divergence",
    "FairnessGap",
    "ForbiddenColumns",
    "Gate",
    "HoldoutReuse",
    "Judged",
    "Latency",
    "Memory",
    "Metric",
    "MinimumLabels",
    "NoConstantFeature",
    "NoInferiorSlice",
    "NoLeakage",
    "NonInferiority",
    "OnnxParity",
    "Rate",
    "Reproducible",
    "SliceThreshold",
    "Superiority",
    "TrainingServingSkew",
    "WithinHistory",
    "default_gates",
    "least_labels",
]

Gate = Annotated[
    AtLeast
    | AtMost
    | BetterThanBaseline
    | Superiority
    | NonInferiority
    | Calibration
    | Divergence
    | WithinHistory
    | SliceThreshold
    | NoInferiorSlice
    | FairnessGap
    | MinimumLabels
    | DataFreshness
    | NoConstantFeature
    | NoLeakage
    | ForbiddenColumns
    | TrainingServingSkew
    | HoldoutReuse
    | OnnxParity
    | Reproducible
    | ArtifactSize
    | Latency
    | Memory,
    Field(discriminator="kind"),
]


def least_labels(task: Task) -> MinimumLabels:
    """Return how many labels a model needs that does not say: too few are a refusal, never a pass."""
    return MinimumLabels(rows=500) if task == "regression" else MinimumLabels(rows=500, per_class=50)


def default_gates(task: Task) -> tuple[Gate, ...]:
    """Return the policy of a model that declares none: cautious, and the same for every model of a task."""
    about_data: tuple[Gate, ...] = (NoConstantFeature(), NoLeakage(), TrainingServingSkew())
    if task == "regression":
        # The scale of a value is not known here, so what is compared has none: the share of variance explained.
        return (
            least_labels(task),
            BetterThanBaseline(metric="r2"),
            NonInferiority(metric="r2", margin=0.02),
            WithinHistory(metric="r2", min_spread=0.02),
            *about_data,
        )
    return (
        least_labels(task),
        BetterThanBaseline(metric="log_loss"),
        NonInferiority(metric="roc_auc", margin=0.01),
        NonInferiority(metric="log_loss", margin=0.01),
        Calibration(max_error=0.05),
        WithinHistory(metric="roc_auc"),
        *about_data,
    )
