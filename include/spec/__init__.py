"""The words that a model is declared in.

A folder ``include/models/<name>/`` holds ``spec.py`` with one `ModelSpec` and, beside it,
``features.sql`` with one query. Everything else about the model (DAGs, score table, endpoints,
checks) follows from the two. Importing this module loads neither numpy nor scikit-learn, so that a
DAG file parses in milliseconds: the estimator is built by a function that a task calls.
"""

from include.spec.approval import Approval
from include.spec.features import Boolean, Categorical, Columns, Feature, Numeric
from include.spec.gates import (
    HIGHER_IS_BETTER,
    ArtifactSize,
    AtLeast,
    AtMost,
    BetterThanBaseline,
    BetterThanChampion,
    Calibrated,
    FairnessGap,
    FaithfulExport,
    ForbiddenColumns,
    FreshData,
    Gate,
    HoldoutReuse,
    Latency,
    Memory,
    Metric,
    MinimumLabels,
    NoConstantFeature,
    NoLeakage,
    NotWorseThanChampion,
    SameFeatures,
    SliceFloor,
    SliceNotWorse,
    UsualForModel,
    default_gates,
)
from include.spec.judging import Judging, Slice
from include.spec.model import Contract, EntityKey, EstimatorBuilder, ModelSpec, Target, TrainingWindow
from include.spec.scoring import Bound, ClassShare, MeanScore, Scoring
from include.spec.shadow import Shadow
from include.spec.words import ClassLabel, Identifier, Task, Word

__all__ = [
    "HIGHER_IS_BETTER",
    "Approval",
    "ArtifactSize",
    "AtLeast",
    "AtMost",
    "BetterThanBaseline",
    "BetterThanChampion",
    "Boolean",
    "Bound",
    "Calibrated",
    "Categorical",
    "ClassLabel",
    "ClassShare",
    "Columns",
    "Contract",
    "EntityKey",
    "EstimatorBuilder",
    "FairnessGap",
    "FaithfulExport",
    "Feature",
    "ForbiddenColumns",
    "FreshData",
    "Gate",
    "HoldoutReuse",
    "Identifier",
    "Judging",
    "Latency",
    "MeanScore",
    "Memory",
    "Metric",
    "MinimumLabels",
    "ModelSpec",
    "NoConstantFeature",
    "NoLeakage",
    "NotWorseThanChampion",
    "Numeric",
    "SameFeatures",
    "Scoring",
    "Shadow",
    "Slice",
    "SliceFloor",
    "SliceNotWorse",
    "Target",
    "Task",
    "TrainingWindow",
    "UsualForModel",
    "Word",
    "default_gates",
]
