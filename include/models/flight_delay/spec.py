"""Will a flight from New York arrive more than 15 minutes late? All features are known before it departs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.spec import (
    ArtifactSize,
    BetterThanBaseline,
    Calibration,
    Categorical,
    Columns,
    Contract,
    DataFreshness,
    EntityKey,
    EvaluationConfig,
    ForbiddenColumns,
    Latency,
    Memory,
    MetricThreshold,
    MinimumLabels,
    ModelSpec,
    NoConstantFeature,
    NoInferiorSlice,
    NoLeakage,
    NonInferiority,
    Numeric,
    Slice,
    SliceThreshold,
    Target,
    TrainingServingSkew,
    TrainingWindow,
    WithinHistory,
)

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")

# Known directions, which a model of one year of weather must not contradict. +1: the probability of a delay only rises
# with the feature; -1: it only falls. This prevents that trees overfit single stormy days.
DIRECTION = {
    "minute_of_day": 1,
    "planned_departures": 1,
    "recent_delay": 1,
    "humidity": 1,
    "wind_speed": 1,
    "precipitation": 1,
    "visibility": -1,
    "pressure": -1,
}


def build_estimator(columns: Columns) -> Any:
    # Import here, not at the top: a DAG file reads this module and must not wait for scikit-learn.
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Categories are codes, compared as numbers; `categorical_features=columns.categorical` would compare sets of them.
    return HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=100,
        max_leaf_nodes=31,
        min_samples_leaf=200,
        l2_regularization=30.0,
        max_features=0.4,
        monotonic_cst=[DIRECTION.get(name, 0) for name in columns.names],
        # Early stopping uses a random tenth of the training rows. The holdout, which is later in time, is not used
        # here.
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=15,
        tol=1e-4,
        random_state=0,
    )


spec = ModelSpec(
    name="flight_delay",  # the folder's name
    task="binary",
    description="The chance that a flight out of New York arrives more than 15 minutes late.",
    owner="data-science",
    source="source.flights",
    entity_key=EntityKey(column="flight_key"),  # such as UA1545-EWR-20130101T0515
    event_time="scheduled_at",
    features=(
        # Declared categories with handle_unknown="error": a batch with another carrier fails.
        Categorical(name="carrier", categories=CARRIERS, handle_unknown="error"),
        Categorical(name="origin", categories=("EWR", "JFK", "LGA"), handle_unknown="error"),
        # Learned from the training rows; a new destination is treated as missing.
        Categorical(name="dest"),
        Numeric(name="distance", unit="miles", minimum=1, maximum=6_000),
        Numeric(name="minute_of_day", unit="minutes after midnight in New York", minimum=0, maximum=1_439),
        Numeric(name="weekday", unit="1 is Monday", minimum=1, maximum=7),
        # No month: no month occurs twice in the window, so the month of the holdout would not be in the training rows.
        Numeric(name="planned_departures", unit="flights from the airport in that hour", minimum=1, maximum=200),
        Numeric(
            name="recent_delay", unit="minutes, mean of recent departures", minimum=-15, maximum=120, nullable=True
        ),
        Numeric(name="temperature", unit="degrees Fahrenheit", minimum=-60, maximum=140, nullable=True),
        Numeric(name="humidity", unit="percent", minimum=0, maximum=100, nullable=True),
        Numeric(name="wind_speed", unit="miles an hour", minimum=0, maximum=200, nullable=True),
        Numeric(name="precipitation", unit="inches an hour", minimum=0, maximum=15, nullable=True),
        Numeric(name="visibility", unit="miles", minimum=0, maximum=50, nullable=True),
        Numeric(name="pressure", unit="millibars", minimum=850, maximum=1_100, nullable=True),
        Numeric(name="plane_age", unit="years", minimum=0, maximum=100, nullable=True),
        Numeric(name="plane_seats", unit="seats", minimum=1, maximum=900, nullable=True),
        Categorical(name="engine", nullable=True),
    ),
    # The second class is the positive one. The arrival is known a day after the scheduled departure.
    target=Target(column="arrival", classes=("on_time", "late"), label_delay=timedelta(days=1)),
    estimator=build_estimator,
    window=TrainingWindow(train=timedelta(days=270), holdout=timedelta(days=30)),
    contract=Contract(
        training_rows=(200_000, 400_000),
        partition_rows=(400, 2_000),
        freshness=timedelta(days=2),
    ),
    # Slices with metrics of their own.
    evaluation=EvaluationConfig(
        slices=(Slice(feature="carrier"), Slice(feature="origin"), Slice(feature="distance", cuts=(750, 1500)))
    ),
    gates=(
        # Enough rows, and recent ones.
        MinimumLabels(rows=10_000, per_class=1_000),
        DataFreshness(max_age=timedelta(days=2)),
        # Good enough, and better than the baseline.
        MetricThreshold(metric="roc_auc", minimum=0.62),
        BetterThanBaseline(metric="roc_auc", margin=0.002),
        # Proven not to be much worse than the champion; on no slice significantly worse.
        NonInferiority(metric="roc_auc", margin=0.01),
        NonInferiority(metric="log_loss", margin=0.01),
        NoInferiorSlice(metric="roc_auc", margin=0.01),
        SliceThreshold(metric="roc_auc", minimum=0.55, feature="origin"),
        WithinHistory(metric="roc_auc", min_spread=0.02),
        # The share of late flights changes with the seasons by a factor of two, so no model of the earlier months is
        # calibrated to 0.01. Beyond this limit the probabilities would mislead.
        Calibration(max_error=0.15),
        # The features: not constant, no leakage, and the same in serving.
        NoConstantFeature(),
        NoLeakage(max_strength=0.9),
        ForbiddenColumns(names=("arr_*", "dep_delay", "actual_*")),
        TrainingServingSkew(),
        # The cost of serving; the machine of the rehearsal may be busy.
        ArtifactSize(max_mib=5),
        Latency(max_p99_ms=250),
        Memory(max_mib=400),
    ),
    retrain_schedule="0 4 * * 1",  # Mondays at 04:00 UTC
    score_schedule="0 0 * * *",  # each partition is one UTC day
    tags=("sample",),
)
