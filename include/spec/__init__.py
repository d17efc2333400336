"""The words that a model is declared in.

A folder ``include/models/<name>/`` holds ``spec.py`` with one `ModelSpec` and, beside it,
``features.sql`` with one query. Everything else about the model (DAGs, score table, endpoints,
checks) follows from the two. Importing this module loads neither numpy nor scikit-learn, so that a
DAG file parses in milliseconds: the estimator is built by a function that a task calls.
"""

from include.spec.features import Boolean, Categorical, Columns, Feature, Numeric
from include.spec.gates import (
    HIGHER_IS_BETTER,
    AtLeast,
    AtMost,
    BetterThanBaseline,
    Gate,
    Metric,
    MinimumLabels,
    NotWorseThanChampion,
)
from include.spec.model import Contract, EntityKey, EstimatorBuilder, ModelSpec, Target, TrainingWindow
from include.spec.words import ClassLabel, Identifier, Task, Word

__all__ = [
    "HIGHER_IS_BETTER",
    "AtLeast",
    "AtMost",
    "BetterThanBaseline",
    "Boolean",
    "Categorical",
    "ClassLabel",
    "Columns",
    "Contract",
    "EntityKey",
    "EstimatorBuilder",
    "Feature",
    "Gate",
    "Identifier",
    "Metric",
    "MinimumLabels",
    "ModelSpec",
    "NotWorseThanChampion",
    "Numeric",
    "Target",
    "Task",
    "TrainingWindow",
    "Word",
]
