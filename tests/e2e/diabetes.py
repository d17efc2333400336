"""A third model, a regression on scikit-learn's diabetes data, declared by a folder and nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from sklearn.datasets import load_diabetes as read_diabetes

MEASURES = ("age", "sex", "bmi", "blood_pressure", "s1", "s2", "s3", "s4", "s5", "s6")

SPEC = '''
"""How far will the disease have come after a year?"""

from datetime import timedelta

from include.spec import *

MEASURES = ("age", "sex", "bmi", "blood_pressure", "s1", "s2", "s3", "s4", "s5", "s6")


def build_estimator(columns):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(alpha=10.0))


spec = ModelSpec(
    name="diabetes",
    task="regression",
    description="Disease progression a year after the baseline.",
    owner="research",
    source="source.diabetes",
    entity_key=EntityKey(column="patient", type="bigint"),
    event_time="seen_at",
    features=tuple(Numeric(name=name, unit="as measured", minimum=-1000, maximum=1000) for name in MEASURES),
    target=Target(column="progression"),
    estimator=build_estimator,
    window=TrainingWindow(train=timedelta(days=60), holdout=timedelta(days=20)),
    contract=Contract(training_rows=(200, 10_000), partition_rows=(1, 1_000)),
    gates=(MetricThreshold(metric="r2", minimum=0.2),
           BetterThanBaseline(metric="mae", margin=-5.0), MinimumLabels(rows=50)),
    retrain_schedule=None,
    score_schedule=None,
)
'''


def declare_diabetes(models: Path) -> None:
    """Write the folder."""
    folder = models / "diabetes"
    folder.mkdir()
    query = f"SELECT patient, seen_at, {', '.join(MEASURES)}, progression FROM source.diabetes "
    query += "WHERE seen_at >= :period_start AND seen_at < :period_end"
    (folder / "features.sql").write_text(query)
    (folder / "spec.py").write_text(SPEC)


def load_diabetes(database_url: str, until: datetime) -> None:
    """Make ``source.diabetes``: 442 patients, five a day until `until`."""
    data = read_diabetes(scaled=False)
    with psycopg.connect(database_url) as connection:
        numbers = ", ".join(f"{name} double precision" for name in (*MEASURES, "progression"))
        connection.execute(f"CREATE TABLE source.diabetes (patient bigint, seen_at timestamptz, {numbers})")
        with connection.cursor().copy("COPY source.diabetes FROM STDIN") as copy:
            count = len(data.target)
            for number, (measured, progression) in enumerate(zip(data.data, data.target, strict=True)):
                seen_at = until - (count - number) * timedelta(days=1) / 5
                copy.write_row((number, seen_at, *map(float, measured), float(progression)))
