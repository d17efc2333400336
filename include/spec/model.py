"""The declaration of a model: `ModelSpec` and the parts that only it uses."""

from __future__ import annotations

import hashlib
import tokenize
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    InstanceOf,
    NonNegativeInt,
    PositiveFloat,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from include.spec.approval import ApprovalPolicy
from include.spec.base import (
    ColumnName,
    Cron,
    Identifier,
    ModelName,
    NonNegativeDuration,
    PositiveDuration,
    SpecModel,
    Task,
    TimeZone,
)
from include.spec.class_labels import BOOLEAN_CLASSES, ClassLabel, class_columns
from include.spec.decision import DecisionThreshold
from include.spec.evaluation import EvaluationConfig
from include.spec.features import Columns, Feature
from include.spec.features_query import decode_query
from include.spec.gates import (
    Calibration,
    FairnessGap,
    Gate,
    MinimumLabels,
    NoInferiorSlice,
    PredictionChurn,
    Reproducible,
    SliceThreshold,
    default_gates,
    default_minimum_labels,
)
from include.spec.metrics import METRICS
from include.spec.query import QUERY_FILE, SPEC_FILE, FeatureQuery
from include.spec.score_start import MAX_WAITING_RUNS, ScoreStart
from include.spec.scoring import Scoring
from include.spec.shadow import Shadow


class EntityKey(SpecModel):
    """The column that identifies an entity: a row of a partition.

    A partition has each entity once. A training window may have it many times, such as a customer on each day, but
    once at the same event time.
    """

    column: ColumnName
    type: Literal["text", "bigint"] = "text"


class Target(SpecModel):
    """The column to predict.

    For classification the query gives one of `classes` as text, or as an integer such as "0" and "1";
    for ``binary`` the second class is the positive one. A binary target without `classes` is boolean.
    Rows whose target is null are left out of training. The true value is known
    `label_delay` after the event time.
    """

    column: ColumnName
    classes: tuple[ClassLabel, ...] = ()
    label_delay: NonNegativeDuration = timedelta(0)


class TrainingWindow(SpecModel):
    """A window: the training period, a gap, and the holdout at its end."""

    train: PositiveDuration
    holdout: PositiveDuration
    gap: NonNegativeDuration = timedelta(0)


class Contract(SpecModel):
    """Requirements on the data beyond those of the features.

    Numbers of rows are ``(minimum, maximum)``, for the whole training window and for one score partition.
    `freshness` is the maximum age of the newest row at the end of the training window.
    """

    training_rows: tuple[NonNegativeInt, NonNegativeInt]
    partition_rows: tuple[NonNegativeInt, NonNegativeInt]
    freshness: PositiveDuration | None = None

    @model_validator(mode="after")
    def _minimum_before_maximum(self) -> Self:
        for name, (low, high) in (("training_rows", self.training_rows), ("partition_rows", self.partition_rows)):
            if low > high:
                raise ValueError(f"{name} is (minimum, maximum); found {low} before {high}")
        return self


EstimatorBuilder = Callable[[Columns], Any]
"""Builds an unfitted scikit-learn estimator. `Any`: scikit-learn must not be imported here."""


class ModelSpec(SpecModel):
    """A model, declared.

    Parameters
    ----------
    name : str
        The folder's name; also the name in DAG ids, tables and routes.
    task : {"binary", "multiclass", "regression"}
    description, owner : str
        Shown in the Airflow UI and in alerts.
    source : str
        The table or view that feeds `features.sql`, ``schema.table``; errors name it.
    entity_key, event_time, features, target
        Columns of the query in ``features.sql``, which binds ``:period_start`` and ``:period_end``.
    estimator : callable
        Takes `Columns`, returns an unfitted scikit-learn estimator.
    decision_threshold : DecisionThreshold or None
        From which probability on a binary model predicts the second class; None: a row gets its most probable class.
    gates : tuple of Gate
        The requirements on a candidate before it is promoted; if empty, `default_gates` of the task, of which single
        ones can be replaced, dropped or added by name.
    evaluation : EvaluationConfig
        Confidence level, bootstrap resamples and slices.
    retrain_schedule, score_schedule : str or None
        Cron expressions, the first in UTC; None: only by hand. The interval of the score schedule is the partition.
    score_timezone : str
        The time zone of the score schedule, and of the days of a model without one.
    score_start : ScoreStart
        When a scheduled run starts to score its partition: at its end, some time later, when an Airflow asset has an
        event, or when the contract holds.
    scoring : Scoring
        How a partition is split into shards, the bounds of its scores, its retention.
    alert_channels : tuple of str
        Names of channels that the operator maps to addresses with SLUICE_ALERT_CHANNELS.
    approval : ApprovalPolicy or None
        Who must approve a version that passed its gates before it is promoted; None: nobody.
    shadow : Shadow or None
        Lets a challenger score every partition in shadow, with bounds on its divergence; None: the DAG has no such
        task.
    reproducible : bool
        Whether each candidate is trained twice; both trainings must give the same bytes of ONNX.
    parity_tolerance : float
        Maximum difference between ONNX and scikit-learn, on the holdout and on probes: of a probability, or, for a
        regression, relative to the standard deviation of the predictions (and to a prediction far outside it).
    """

    name: ModelName
    task: Task
    description: str
    owner: str
    source: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
    entity_key: EntityKey
    event_time: ColumnName
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    target: Target
    estimator: EstimatorBuilder = Field(exclude=True)
    window: TrainingWindow
    contract: Contract
    decision_threshold: DecisionThreshold | None = None
    gates: tuple[InstanceOf[Gate], ...] = ()
    evaluation: EvaluationConfig = EvaluationConfig()
    retrain_schedule: Cron | None = None
    score_schedule: Cron | None = "0 0 * * *"
    score_timezone: TimeZone = "UTC"
    score_start: ScoreStart = ScoreStart()
    scoring: Scoring = Scoring()
    alert_channels: tuple[Identifier, ...] = ()
    tags: tuple[str, ...] = ()
    parity_tolerance: PositiveFloat = 1e-5
    seed: int = 0
    approval: ApprovalPolicy | None = None
    shadow: Shadow | None = None
    reproducible: bool = False
    folder: Path = Field(default=Path(), exclude=True)

    @field_validator("target")
    @classmethod
    def _boolean_without_classes(cls, target: Target, info: ValidationInfo) -> Target:
        if info.data.get("task") != "binary" or target.classes:
            return target
        return target.model_copy(update={"classes": BOOLEAN_CLASSES})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [self.entity_key.column, self.event_time, self.target.column, *(f.name for f in self.features)]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"every column needs a different name; duplicate names: {', '.join(doubled)}")
        found = len(self.target.classes)
        wanted = {"binary": found == 2, "multiclass": found >= 3, "regression": found == 0}
        if not wanted[self.task]:
            count = {"binary": "exactly 2", "multiclass": "at least 3", "regression": "no"}[self.task]
            raise ValueError(f"a {self.task} target needs {count} classes; found {found}")
        if len(set(self.target.classes)) != found:
            raise ValueError(f"classes must differ from each other; found {', '.join(self.target.classes)}")
        if len(set(class_columns(self.target.classes).values())) != found:
            raise ValueError("two classes would have the same column of scores: rename one of them")
        if self.decision_threshold is not None and self.task != "binary":
            raise ValueError(f"decision_threshold is for a binary model; found a {self.task} one: remove it")
        _check_score_start(self)
        _check_named_features(self)
        for gate in self.gates:
            _check_fits_task(gate, self.task)
        return self

    @model_validator(mode="after")
    def _bounds_are_of_the_answer(self) -> Self:
        columns = list(class_columns(self.target.classes).values()) or ["value"]
        for bound in self.scoring.bounds:
            named, known = (
                (bound.column, columns) if bound.kind == "mean_score" else (bound.label, list(self.target.classes))
            )
            if named not in known:
                raise ValueError(f"a bound of scoring names one of {', '.join(known) or 'no classes'}; found {named}")
        return self

    @property
    def policy(self) -> tuple[Gate, ...]:
        """The gates of a candidate: the declared ones or the task's defaults, and those always required."""
        gates = self.gates or default_gates(self.task)
        if not any(isinstance(gate, MinimumLabels) for gate in gates):
            gates = (default_minimum_labels(self.task), *gates)
        return (*gates, Reproducible()) if self.reproducible and Reproducible() not in gates else gates

    @property
    def columns(self) -> Columns:
        """The position of each feature in the estimator's matrix."""
        return Columns(self.features)

    @property
    def query(self) -> FeatureQuery:
        """The query in ``features.sql``, as it is at this moment."""
        return FeatureQuery(
            model=self.name,
            text=decode_query((self.folder / QUERY_FILE).read_bytes()),
            entity_key=self.entity_key,
            event_time=self.event_time,
            features=self.features,
            target=self.target,
        )

    @property
    def code(self) -> str:
        """The text of ``spec.py``, as it is at this moment."""
        with tokenize.open(self.folder / SPEC_FILE) as file:  # as Python reads it, whatever its encoding
            return file.read()

    def to_plain(self) -> dict[str, Any]:
        """Return every value that is declared, the defaults included, as JSON-ready built-in types.

        The estimator is code and is not among them; see `code`.
        """
        plain = self.model_dump(mode="json", exclude={"gates"})
        return plain | {"gates": [gate.model_dump(mode="json") for gate in self.gates]}

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration: the bytes of ``spec.py`` and ``features.sql``."""
        digest = hashlib.sha256()
        for name in (SPEC_FILE, QUERY_FILE):
            content = (self.folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()


def _check_score_start(spec: ModelSpec) -> None:
    """Refuse a start that no run would wait for, that could never come, or that many partitions would wait for."""
    start = spec.score_start
    if not start.longest:
        return
    if spec.score_schedule is None:
        raise ValueError("score_start is for scheduled runs: declare score_schedule, or remove score_start")
    if start.asset in (f"{spec.name}_scores", f"sluice://{spec.name}/scores"):
        raise ValueError(f"score_start waits for the asset '{start.asset}', which this model's own scores update")
    if start.waiting_runs(spec.score_schedule) > MAX_WAITING_RUNS:
        raise ValueError(
            f"score_start: at most {MAX_WAITING_RUNS} partitions may wait at the same time; found more, with the "
            f"schedule '{spec.score_schedule}' and up to {start.longest}. Shorten the delay or the deadline"
        )


def _check_fits_task(gate: Gate, task: Task) -> None:
    """Refuse a gate that could never be measured on a model of this task."""
    metric = "ece" if isinstance(gate, Calibration) else getattr(gate, "metric", None)
    if metric is not None and task not in METRICS[metric].tasks:
        known = [name for name, each in METRICS.items() if task in each.tasks]
        advice = "remove it" if isinstance(gate, Calibration) else f"use one of {', '.join(known)}"
        raise ValueError(f"the gate {gate.kind} measures {metric}, which a {task} model does not have: {advice}")
    if isinstance(gate, MinimumLabels) and gate.per_class and task == "regression":
        raise ValueError("the gate minimum_labels: a regression has no classes; remove per_class")


def _check_named_features(spec: ModelSpec) -> None:
    """Refuse slices and gates that name an unknown feature, or one that they cannot use."""
    kinds = {feature.name: feature.matrix_type for feature in spec.features}
    sliced = {each.feature for each in spec.evaluation.slices}
    for each in spec.evaluation.slices:
        if each.feature not in kinds:
            raise ValueError(f"evaluation.slices names '{each.feature}', which is not a feature")
        if (kinds[each.feature] == "numeric") != bool(each.cuts):
            raise ValueError(f"a slice by '{each.feature}' ({kinds[each.feature]}) needs cuts if, and only if, numeric")
    for gate in spec.gates:
        if isinstance(gate, SliceThreshold | NoInferiorSlice) and not (
            sliced if gate.feature is None else gate.feature in sliced
        ):
            raise ValueError(
                f"the gate {gate.kind} needs slices by {gate.feature or 'any feature'}: declare evaluation.slices"
            )
        if isinstance(gate, PredictionChurn) and gate.max_label_flips is not None and spec.task == "regression":
            raise ValueError("the gate prediction_churn: a regression has no labels; remove max_label_flips")
        if isinstance(gate, Reproducible) and not spec.reproducible:
            raise ValueError("the gate reproducible needs a second training: declare reproducible=True")
        if isinstance(gate, FairnessGap) and (spec.task != "binary" or kinds.get(gate.feature) in (None, "numeric")):
            raise ValueError(
                f"a fairness_gap is for a binary model, by a categorical or boolean feature; found '{gate.feature}'"
            )
