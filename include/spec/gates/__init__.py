"""Gates: what a candidate must show before it is promoted. Each is a word with its own bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.spec.gates.artifact import ArtifactSize, FaithfulExport, Latency, Memory, Reproducible
from include.spec.gates.data import (
    ForbiddenColumns,
    FreshData,
    HoldoutReuse,
    MinimumLabels,
    NoConstantFeature,
    NoLeakage,
    SameFeatures,
)
from include.spec.gates.divergence import Divergence
from include.spec.gates.groups import FairnessGap, Rate, SliceFloor, SliceNotWorse
from include.spec.gates.metrics import HIGHER_IS_BETTER, Judged, Metric
from include.spec.gates.quality import (
    AtLeast,
    AtMost,
    BetterThanBaseline,
    BetterThanChampion,
    Calibrated,
    NotWorseThanChampion,
    UsualForModel,
)
from include.spec.words import Task

__all__ = [
    "HIGHER_IS_BETTER",
    "ArtifactSize",
    "AtLeast",
    "AtMost",
    "BetterThanBaseline",
    "BetterThanChampion",
    "Calibrated",
    "Divergence",
    "FairnessGap",
    "FaithfulExport",
    "ForbiddenColumns",
    "FreshData",
    "Gate",
    "HoldoutReuse",
    "Judged",
    "Latency",
    "Memory",
    "Metric",
    "MinimumLabels",
    "NoConstantFeature",
    "NoLeakage",
    "NotWorseThanChampion",
    "Rate",
    "Reproducible",
    "SameFeatures",
    "SliceFloor",
    "SliceNotWorse",
    "UsualForModel",
    "default_gates",
    "least_labels",
]

Gate = Annotated[
    AtLeast
    | AtMost
    | BetterThanBaseline
    | BetterThanChampion
    | NotWorseThanChampion
    | Calibrated
    | Divergence
    | UsualForModel
    | SliceFloor
    | SliceNotWorse
    | FairnessGap
    | MinimumLabels
    | FreshData
    | NoConstantFeature
    | NoLeakage
    | ForbiddenColumns
    | SameFeatures
    | HoldoutReuse
    | FaithfulExport
    | Reproducible
    | ArtifactSize
    | Latency
    | Memory,
    Field(discriminator="kind"),
]


def least_labels(task: Task) -> MinimumLabels:
    """Return how many labels a model needs that does not say: too few are a refusal, never a pass."""
    return MinimumLabels(rows=500) if task == "regression" else MinimumLabels(rows=500, each_class=50)


def default_gates(task: Task) -> tuple[Gate, ...]:
    """Return the policy of a model that declares none: cautious, and the same for every model of a task."""
    about_data: tuple[Gate, ...] = (NoConstantFeature(), NoLeakage(), SameFeatures())
    if task == "regression":
        # The scale of a value is not known here, so what is compared has none: the share of variance explained.
        return (
            least_labels(task),
            BetterThanBaseline(metric="r2"),
            NotWorseThanChampion(metric="r2", margin=0.02),
            UsualForModel(metric="r2", least_spread=0.02),
            *about_data,
        )
    return (
        least_labels(task),
        BetterThanBaseline(metric="log_loss"),
        NotWorseThanChampion(metric="roc_auc", margin=0.01),
        NotWorseThanChampion(metric="log_loss", margin=0.01),
        Calibrated(error=0.05),
        UsualForModel(metric="roc_auc"),
        *about_data,
    )
