"""The classes that a model is declared with.

A folder ``include/models/<name>/`` holds ``spec.py`` with one `ModelSpec` and, beside it,
``features.sql`` with one query. Everything else about the model (DAGs, score table, endpoints,
checks) follows from the two. Importing this package loads neither numpy nor scikit-learn, so that a
DAG file parses in milliseconds: the estimator is built by a function that a task calls.
"""

from include.spec import gates
from include.spec.approval import ApprovalPolicy
from include.spec.base import Identifier, SpecModel, Task
from include.spec.class_labels import BOOLEAN_CLASSES, ClassLabel, class_columns, possible_columns
from include.spec.decision import DecisionThreshold
from include.spec.evaluation import EvaluationConfig, Slice
from include.spec.features import Boolean, Categorical, Columns, Feature, Numeric
from include.spec.freshness import Freshness
from include.spec.gates import Gate, default_gates
from include.spec.gates.artifact import *  # noqa: F403
from include.spec.gates.data import *  # noqa: F403
from include.spec.gates.groups import *  # noqa: F403
from include.spec.gates.prediction_churn import *  # noqa: F403
from include.spec.gates.quality import *  # noqa: F403
from include.spec.metrics import METRICS, Metric, MetricName
from include.spec.model import Contract, EntityKey, EstimatorBuilder, ModelSpec, Target, TrainingWindow
from include.spec.query import QUERY_FILE, FeatureQuery
from include.spec.score_start import ScoreStart
from include.spec.scoring import Bound, ClassShare, MeanScore, Scoring
from include.spec.shadow import Shadow

__all__ = [
    "BOOLEAN_CLASSES",
    "METRICS",
    "QUERY_FILE",
    "ApprovalPolicy",
    "Boolean",
    "Bound",
    "Categorical",
    "ClassLabel",
    "ClassShare",
    "Columns",
    "Contract",
    "DecisionThreshold",
    "EntityKey",
    "EstimatorBuilder",
    "EvaluationConfig",
    "Feature",
    "FeatureQuery",
    "Freshness",
    "Gate",
    "Identifier",
    "MeanScore",
    "Metric",
    "MetricName",
    "ModelSpec",
    "Numeric",
    "ScoreStart",
    "Scoring",
    "Shadow",
    "Slice",
    "SpecModel",
    "Target",
    "Task",
    "TrainingWindow",
    "class_columns",
    "default_gates",
    "possible_columns",
]
__all__ += (name for name in gates.__all__ if name not in __all__)
