"""A model in production, and what an edit of its declaration really does there, found without `sluice plan`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sqlalchemy import text

from include import pipeline, scoring, training
from include.errors import RowsRejectedError, ScoreTableError, SluiceError, VersionIncompatibleError
from include.inference import ModelSignature, RowEncoder
from include.inference.feature_types import feature_type
from include.models import read_spec
from include.records import ChangePlan, Period, PublishedPartition
from include.resources import Resources, open_resources
from include.schedule import is_partition
from include.settings import Settings
from include.spec import ModelSpec
from include.steps.versions import NOT_SCORED, open_version, require_declared
from include.training.data import TrainingData
from include.training.estimator import build_estimator
from tests.builders import TODAY, load_parcels, retrain
from tests.changes.edits import BASE, Draft, draft_of

PUBLISHED_DAYS = 4
VALUES: tuple[Any, ...] = (
    None, True, False, -1e4, -5, -1, 0, 0.5, 1, 5, 10, 50, 51, 99, 100, 101, 200, 5000, 5001, 1e5,
    "ant", "bee", "cat", "dog", "wasp", "hard", "soft", "smooth", *"0123456789", "x", "never seen",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What a training of a declaration sees, and what it is done with; the labels by entity key."""

    data: TrainingData
    labels: dict[Any, Any]
    estimator: str
    threshold: object

    def gives_the_model_of(self, other: Trained) -> bool:
        ours, theirs = self.data, other.data
        return (
            (ours.signature, self.estimator, self.threshold) == (theirs.signature, other.estimator, other.threshold)
            and np.array_equal(ours.x_train, theirs.x_train, equal_nan=True)
            and np.array_equal(ours.y_train, theirs.y_train)
        )


@dataclass(frozen=True)
class Outcome:
    """What really happens: does the champion still score, can the declaration be trained, and the classes."""

    stops_scoring: bool
    trains: bool
    classes: frozenset[str]


class World:
    """Parcels with a champion of the base declaration, and four published days."""

    def __init__(self, resources: Resources, models_dir: Path) -> None:
        self.resources = resources
        self.models_dir = models_dir
        load_parcels(resources.engine)
        self.base = self.declare(BASE)
        pipeline.promote_candidate(self.base, retrain(self.base, "base", resources), "somebody", resources)
        for days in range(PUBLISHED_DAYS, 0, -1):
            pipeline.score(self.base, f"day {days}", Period.of_day((TODAY - timedelta(days=days)).date()), resources)
        self.published: tuple[PublishedPartition, ...] = resources.ledger.published_partitions("parcels")
        self.newest = Period(start=self.published[-1].partition_start, end=self.published[-1].partition_end)
        self.champion = open_version("parcels", 1, resources)
        trained = self.train(self.base)
        assert trained is not None
        self.trained = trained

    def declare(self, draft: Draft) -> ModelSpec:
        folder = self.models_dir / "parcels"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.py").write_text(draft.spec())
        (folder / "features.sql").write_text(draft.query())
        return read_spec(folder / "spec.py")

    def edits(self, count: int, first: int = 0) -> Iterator[tuple[int, ModelSpec]]:
        """Yield the first `count` valid edits, each declared and with its seed."""
        seed = first
        while count:
            with contextlib.suppress(SluiceError):
                spec = self.declare(draft_of(seed))
                yield seed, spec
                count -= 1
            seed += 1

    def plan(self, spec: ModelSpec) -> ChangePlan:
        return pipeline.plan_changes(spec, self.resources)

    # -- what really happens ------------------------------------------------------------------------

    def outcome(self, spec: ModelSpec) -> Outcome:
        stops = False
        try:
            require_declared(spec, self.champion, NOT_SCORED)
        except VersionIncompatibleError:
            stops = True
        trained = self.train(spec)
        classes = set()
        if stops or (trained is not None and not trained.gives_the_model_of(self.trained)):
            classes.add("needs_retrain")
        signature = self.signature(spec) if trained is None else trained.data.signature
        accepted = self.table_accepts(spec)
        if not accepted or self.clients_break(signature) or self.partitions_vanish(spec):
            classes.add("breaks_readers")
        if self.rows_differ(spec):
            classes.add("needs_backfill")
            if spec.entity_key.column != self.base.entity_key.column:
                classes.add("breaks_readers")
        if self.labels_differ(spec, trained, accepted) or self.off_schedule(spec):
            classes.add("needs_backfill")
        return Outcome(stops, trained is not None, frozenset(classes or {"compatible"}))

    def train(self, spec: ModelSpec) -> Trained | None:
        """Do what a retrain does up to the fit; None: it fails."""
        try:
            snapshot = pipeline.take_snapshot(spec, TODAY, self.resources, again=True)
            data = training.read_training_data(spec, snapshot)
            rows = pq.read_table(snapshot.path, columns=[spec.entity_key.column, spec.target.column])
            labels = dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))
            estimator = str(sorted(build_estimator(spec).get_params().items()))
        except SluiceError:
            return None
        return Trained(data, labels, estimator, spec.decision_threshold)

    @staticmethod
    def signature(spec: ModelSpec) -> ModelSignature:
        """Return the signature that a version would have, with a category where some would be learned."""
        features = tuple(
            each.model_copy(update={"categories": tuple(sorted({*each.categories} or {"x"}))})
            if feature_type(each).has_text
            else each
            for each in spec.features
        )
        return ModelSignature(
            model=spec.name, task=spec.task, entity_key=spec.entity_key, event_time=spec.event_time, features=features,
            classes=spec.target.classes, target=spec.target.column,
        )  # fmt: skip

    def table_accepts(self, spec: ModelSpec) -> bool:
        try:
            scoring.ensure_score_table(self.resources.engine, spec)
        except ScoreTableError:
            return False
        return True

    def clients_break(self, signature: ModelSignature) -> bool:
        former = self.champion.signature
        if (former.task, former.classes) != (signature.task, signature.classes):
            return True
        units = {each.name: getattr(each, "unit", None) for each in former.features}
        if any(units.get(each.name) != getattr(each, "unit", None) for each in signature.features):
            return True
        try:
            found = (
                decoded(signature, self.requests),
                decoded(signature, [list(each.values()) for each in self.requests]),
            )
        except RowsRejectedError:
            return True
        return any(
            form[name][row] not in (value, None)
            for form in found
            for name, values in self.understood.items()
            for row, value in enumerate(values)
            if value is not None
        )

    @cached_property
    def understood(self) -> dict[str, list[Any]]:
        """What the champion understands of the requests."""
        return decoded(self.champion.signature, self.requests)

    @cached_property
    def requests(self) -> list[dict[str, Any]]:
        """Requests that the champion answers: one row, and that row with each value that a feature may have."""
        signature = self.champion.signature
        row = {each.name: feature_type(each).example() for each in signature.features}
        encoder, found = RowEncoder(signature), [row]
        for name in row:
            for value in VALUES:
                with contextlib.suppress(RowsRejectedError):
                    encoder.encode_one(row | {name: value})
                    found.append(row | {name: value})
        return found

    def partitions_vanish(self, spec: ModelSpec) -> bool:
        """Whether housekeeping would remove a partition: of the old ones, those whose keys have a newer score."""
        retention = spec.scoring.retention
        old = [] if retention is None else [
            each.partition_start for each in self.published[:-1] if each.partition_end <= TODAY - retention
        ]  # fmt: skip
        newest = {start for (start,) in self.read("SELECT DISTINCT partition_start FROM scores.parcels_latest")}
        return bool(set(old) - newest if spec.scoring.retain_latest else old)

    def rows_differ(self, spec: ModelSpec) -> bool:
        try:
            with self.resources.features.read(spec.query, self.newest, labelled=False) as rows:
                found = {str(key) for key in rows.read_all().column(spec.entity_key.column).to_pylist()}
        except SluiceError:
            return False
        scored = self.read(f"SELECT entity_key FROM scores.parcels WHERE partition_start = '{self.newest.start}'")
        return found != {str(key) for (key,) in scored}

    def labels_differ(self, spec: ModelSpec, trained: Trained | None, accepted: bool) -> bool:
        """Whether predicted_label means another thing in published rows than in new ones."""
        if spec.task != self.base.task or not accepted:
            return False
        if spec.decision_threshold != self.base.decision_threshold:
            return True
        if set(spec.target.classes) != set(self.base.target.classes):
            return True
        labels = {} if trained is None else trained.labels
        return any(self.trained.labels.get(key, label) != label for key, label in labels.items())

    def off_schedule(self, spec: ModelSpec) -> bool:
        periods = [Period(start=each.partition_start, end=each.partition_end) for each in self.published]
        return not all(is_partition(spec.score_schedule, each, timezone=spec.score_timezone) for each in periods)

    def read(self, query: str) -> list[tuple[Any, ...]]:
        with self.resources.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


def decoded(signature: ModelSignature, rows: list[Any]) -> dict[str, list[Any]]:
    """Return what a model of the signature understands of requests: by feature its values, None if unknown."""
    matrix = RowEncoder(signature).encode(rows)
    found = {}
    for position, each in enumerate(signature.features):
        values = list(feature_type(each).decoded(matrix[:, position]))
        found[each.name] = [None if value is None or value != value else value for value in values]
    return found


@contextlib.contextmanager
def open_world(database_url: str, home: Path) -> Iterator[World]:
    with open_resources(Settings(home=home, database_url=database_url)) as resources:
        yield World(dataclasses.replace(resources, clock=lambda: TODAY), home / "models")
