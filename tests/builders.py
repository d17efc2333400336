"""Builders for tests: a declared model on a real table, small enough to train in a second."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from deploy.local_stack.ports import free_port
from include import pipeline
from include.models import read_spec
from include.records import ModelVersion
from include.resources import Resources
from include.spec import ModelSpec

TODAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""The moment at which the tests' runs happen: the data end at the midnight before."""
DAYS = 60
ROWS_A_DAY = 40

SPEC = """
from datetime import timedelta

from include.spec import *


def build(columns):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)


spec = ModelSpec(
    name="{name}",
    task="binary",
    description="Will the parcel be late?",
    owner="tests",
    source="source.{name}",
    entity_key=EntityKey(column="parcel_id"),
    event_time="sent_at",
    features=(
        Numeric(name="weight", unit="kg", minimum=0, maximum=100),
        Numeric(name="distance", unit="km", minimum=0, maximum=5000, nullable=True),
        Categorical(name="carrier", categories=("ant", "bee", "cat"), handle_unknown="error"),
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
"""

APPROVED_SPEC = SPEC.replace(
    "    retrain_schedule=None,", "    retrain_schedule=None, approval=ApprovalPolicy(timeout=timedelta(days=1)),"
)
"""The same, of which no version is promoted that nobody approved."""

QUERY = """
SELECT parcel_id, sent_at, weight, distance, carrier, fragile, outcome
FROM source.{name}
WHERE sent_at >= :period_start AND sent_at < :period_end
"""


def declare_model(models_dir: Path, name: str = "parcels", *, spec: str = SPEC, query: str = QUERY) -> ModelSpec:
    """Write a model folder and read it back; ``{name}`` in the texts is replaced."""
    folder = models_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.py").write_text(spec.replace("{name}", name))
    (folder / "features.sql").write_text(query.replace("{name}", name))
    return read_spec(folder / "spec.py")


def load_parcels(engine: Engine, name: str = "parcels") -> None:
    """Create ``source.<name>``: 40 parcels a day for 60 days until the midnight before `TODAY`."""
    start = TODAY.replace(hour=0) - timedelta(days=DAYS)
    with engine.begin() as connection:
        connection.execute(text("SELECT setseed(0.42)"))
        connection.execute(
            text(
                f"""
                CREATE TABLE source.{name} AS
                SELECT 'parcel-' || to_char(n, 'FM000000') AS parcel_id,
                       cast(:start AS timestamptz) + n * interval '24 hours' / {ROWS_A_DAY} AS sent_at,
                       round((random() * 30)::numeric, 2)::float8 AS weight,
                       CASE WHEN n % 17 = 0 THEN NULL ELSE round((random() * 3000)::numeric, 1)::float8 END AS distance,
                       (ARRAY['ant', 'bee', 'cat'])[1 + n % 3] AS carrier,
                       n % 5 = 0 AS fragile,
                       NULL::text AS outcome
                FROM generate_series(0, {DAYS * ROWS_A_DAY - 1}) AS n
                """
            ),
            {"start": start},
        )
        connection.execute(
            text(
                f"UPDATE source.{name} SET outcome = CASE WHEN coalesce(distance, 1500) / 3000 + "
                "(carrier = 'cat')::int * 0.3 + random() * 0.6 > 0.9 THEN 'late' ELSE 'on_time' END"
            )
        )


def retrain(spec: ModelSpec, run_id: str, resources: Resources, requested_by: str | None = None) -> ModelVersion:
    """Run the steps of a retrain up to the gates, without the rehearsal, which starts a service.

    The rows are the same every time, and each run makes a version all the same.
    """
    done = pipeline.retrain(
        spec, run_id, TODAY, resources, requested_by=requested_by, rehearsal=None, until="gate", again=True
    )
    return done.version


def promote_first(spec: ModelSpec, resources: Resources) -> ModelSpec:
    """Train a version of a declared model and promote it; return the declaration."""
    pipeline.promote_candidate(spec, retrain(spec, "train", resources), "somebody", resources)
    return spec


def keep_port(home: Path) -> None:
    """Choose a port for the embedded server of `home` that no other test uses, so that it is free after a stop."""
    (home / "postgres").mkdir(parents=True)
    chosen = free_port(random.SystemRandom().randrange(20_000, 25_000))
    (home / "postgres" / "port").write_text(str(chosen))
