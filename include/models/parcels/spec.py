from datetime import timedelta

from include.spec import *


def build(columns):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)


spec = ModelSpec(
    name="parcels",
    task="binary",
    description="Will the parcel be late?",
    owner="tests",
    source="source.parcels",
    entity_key=EntityKey(column="parcel_id"),
    event_time="sent_at",
    features=(
        Numeric(name="weight", unit="kg", minimum=0, maximum=100, nullable=True),
        Numeric(name="distance", unit="km", minimum=0, maximum=5000, nullable=True),
        Categorical(name="carrier", categories=("ant", "bee", "cat"), handle_unknown="ignore", nullable=True),
        Boolean(name="fragile"),
    ),
    target=Target(column="outcome", classes=("on_time", "late")),
    estimator=build,
    window=TrainingWindow(train=timedelta(days=40), holdout=timedelta(days=10)),
    contract=Contract(training_rows=(500, 100_000), partition_rows=(1, 10_000), freshness=timedelta(days=2)),
    gates=(
        BetterThanBaseline(metric="roc_auc", margin=-0.5),
        NonInferiority(metric="roc_auc", margin=0.02),
        MinimumLabels(rows=100),
    ),
    retrain_schedule=None,
    score_schedule=None,
)
