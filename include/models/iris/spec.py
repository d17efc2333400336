"""Which species of iris is it? The smallest useful model: read this one first, then flight_delay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.spec import (
    Columns,
    Contract,
    EntityKey,
    MetricThreshold,
    MinimumLabels,
    ModelSpec,
    NonInferiority,
    Numeric,
    Target,
    TrainingWindow,
)


def build_estimator(columns: Columns) -> Any:  # noqa: ARG001 (all four features are plain numbers)
    # Import here, not at the top: a DAG file reads this module and must not wait for scikit-learn.
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=0)


spec = ModelSpec(
    name="iris",  # the folder's name
    task="multiclass",
    description="Distinguishes three species of iris by the size of their petals and sepals.",
    owner="data-science",
    source="source.iris",
    entity_key=EntityKey(column="sample_key"),
    event_time="observed_at",
    features=(
        Numeric(name="sepal_length", unit="cm", minimum=0, maximum=100),
        Numeric(name="sepal_width", unit="cm", minimum=0, maximum=100),
        Numeric(name="petal_length", unit="cm", minimum=0, maximum=100),
        Numeric(name="petal_width", unit="cm", minimum=0, maximum=100),
    ),
    target=Target(column="species", classes=("setosa", "versicolor", "virginica")),
    estimator=build_estimator,
    # One flower a day: 120 for training, and the 30 days after them for the holdout.
    window=TrainingWindow(train=timedelta(days=120), holdout=timedelta(days=30)),
    contract=Contract(training_rows=(100, 10_000), partition_rows=(1, 1_000), freshness=timedelta(days=7)),
    gates=(
        MetricThreshold(metric="accuracy", minimum=0.85),
        # No BetterThanBaseline: this problem is so easy that a linear baseline is as good as a forest. Thirty flowers
        # are few: one different prediction changes the accuracy by 0.03, and the confidence bound by 0.09.
        NonInferiority(metric="accuracy", margin=0.1),
        MinimumLabels(rows=20),
    ),
    retrain_schedule="0 3 * * 1",  # Mondays at 03:00 UTC
    score_schedule="0 0 * * *",  # each partition is one UTC day
    tags=("sample",),
)
