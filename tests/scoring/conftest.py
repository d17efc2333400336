"""A partition of parcels on a real table, and a model of one small graph: p_late is the weight in units of 64 kg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import Engine, text

from include import pipeline, scoring
from include.inference import ModelSignature, Scorer
from include.records import Period, PublishedPartition, ScoreMode, ScorePlan, StagedShard
from include.resources import Resources
from include.spec import EntityKey, ModelSpec
from include.warehouse.feature_source import PostgresFeatureSource
from tests.builders import TODAY, declare_model, load_parcels

DAY = Period.of_day(datetime(2026, 2, 20, tzinfo=UTC).date())
COLUMNS = "parcel_id, sent_at, weight, distance, carrier, fragile, outcome"


def small_scorer(spec: ModelSpec) -> Scorer:
    """Return a model of the spec's signature that answers p_late = weight / 64, exactly."""
    constants = {"first": np.array([0], np.int64), "scale": np.float32(1 / 64), "one": np.float32(1)}
    nodes = [
        helper.make_node("Gather", ["X", "first"], ["weight"], axis=1),
        helper.make_node("Mul", ["weight", "scale"], ["late"]),
        helper.make_node("Sub", ["one", "late"], ["on_time"]),
        helper.make_node("Concat", ["on_time", "late"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(spec.features)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    signature = ModelSignature(
        model=spec.name,
        task=spec.task,
        entity_key=EntityKey(column=spec.entity_key.column, type=spec.entity_key.type),
        event_time=spec.event_time,
        features=spec.features,
        classes=spec.target.classes,
        target=spec.target.column,
    )
    return Scorer(onnx.ModelProto.SerializeToString(model), signature)


@dataclass(frozen=True)
class Harness:
    """The operations of the tests on one model and one database."""

    engine: Engine
    url: str
    spec: ModelSpec

    def fill(self, rows: int, weight: float = 16, period: Period = DAY, first: int = 0) -> None:
        """Replace the source's rows of `period`."""
        with self.engine.begin() as connection:
            connection.execute(
                text(f"DELETE FROM source.{self.spec.name} WHERE sent_at >= :start AND sent_at < :end"),
                {"start": period.start, "end": period.end},
            )
            connection.execute(
                text(
                    f"INSERT INTO source.{self.spec.name} ({COLUMNS}) SELECT 'parcel, \"' || n || '\"',"
                    " cast(:start AS timestamptz) + n * interval '1 microsecond', :weight, 1, 'ant', false, NULL"
                    " FROM generate_series(cast(:first AS int), :first + :rows - 1) AS n"
                ),
                {"start": period.start, "weight": weight, "rows": rows, "first": first},
            )

    def plan(
        self, rows: int, run_id: str = "run", version: int = 1, period: Period = DAY, mode: ScoreMode = "champion"
    ) -> ScorePlan:
        return scoring.plan(
            self.engine, self.spec, period, rows=rows, run_id=run_id, version=version, artifact_digest="a",
            query_digest="q", mode=mode,
        )  # fmt: skip

    def stage(self, plan: ScorePlan, shard: int = 0, try_number: int = 1) -> StagedShard:
        part, source = scoring.shard_of(plan, shard), PostgresFeatureSource(self.url)
        return scoring.stage_shard(
            self.engine,
            self.spec,
            plan,
            shard,
            lambda: source.read(self.spec.query, plan.period, labelled=False, shard=part),
            small_scorer(self.spec),
            try_number,
        )

    def publish(self, plan: ScorePlan, staged: Sequence[StagedShard]) -> PublishedPartition:
        return scoring.publish(self.engine, self.spec, plan, staged)

    def score(
        self, rows: int, run_id: str = "run", *, version: int = 1, weight: float = 16, period: Period = DAY
    ) -> PublishedPartition:
        """Fill the source and publish its scores."""
        self.fill(rows, weight, period)
        plan = self.plan(rows, run_id, version, period)
        return self.publish(plan, [self.stage(plan, shard) for shard in range(plan.shards)])

    def read(self, query: str) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    @property
    def staging(self) -> list[str]:
        """The tables in schema staging."""
        return [
            name
            for (name,) in self.read(
                "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p')"
            )
        ]


def open_harness(engine: Engine, url: str, spec: ModelSpec) -> Harness:
    """Create the source table and two versions of the model in the ledger."""
    with engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE source.{spec.name} (parcel_id {spec.entity_key.type}, sent_at timestamptz,"
                " weight float8, distance float8, carrier text, fragile boolean, outcome text)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO sluice.model_version (model, version, artifact_digest, spec_digest, data_digest, run_id,"
                f" evaluation, decision, evidence_digest) SELECT '{spec.name}', n, 'a', 's', 'd', 'run ' || n, '{{}}',"
                " '{}', 'e' FROM generate_series(1, 2) AS n"
            )
        )
    return Harness(engine, url, spec)


@pytest.fixture
def declare(tmp_path: Path, engine: Engine, database_url: str) -> Callable[..., Harness]:
    """Declares a model with changed fields and opens a harness for it."""

    def harness(name: str = "parcels", **changes) -> Harness:
        spec = declare_model(tmp_path / "models", name)
        return open_harness(engine, database_url, spec.model_copy(update=changes))

    return harness


@pytest.fixture
def harness(declare: Callable[..., Harness]) -> Harness:
    """Parcels, scored in one shard."""
    return declare()


def train_version(spec: ModelSpec, run: str, resources: Resources) -> None:
    """Train and register a version of a model on its source, with no rehearsal, even if it has one of the same rows."""
    pipeline.retrain(spec, run, TODAY, resources, report=None, rehearsal=None, until="gate", again=True)


@pytest.fixture
def rivals(resources: Resources) -> ModelSpec:
    """Parcels with two different versions: the second was trained on other rows; the first is champion."""
    load_parcels(resources.engine)
    spec = declare_model(resources.settings.home / "models")
    train_version(spec, "one", resources)
    pipeline.move_champion(spec.name, 1, "ann", "the first one", resources)
    with resources.engine.begin() as connection:
        connection.execute(text("UPDATE source.parcels SET outcome = 'late' WHERE fragile AND weight > 10"))
    train_version(spec, "two", resources)
    return spec
