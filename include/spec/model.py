"""The declaration of a model: `ModelSpec` and the parts that only it uses."""

from __future__ import annotations

import hashlib
import tokenize
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    InstanceOf,
    NonNegativeInt,
    PositiveFloat,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from include.spec.approval import ApprovalPolicy
from include.spec.base import (
    ColumnName,
    Cron,
    Fault,
    FaultsError,
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
from include.spec.freshness import APPROVAL_WITHIN, Freshness, default_champion_max_age, earliest_margin
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
        faults = [
            Fault((name,), f"{name} is (minimum, maximum); found {low} before {high}")
            for name, (low, high) in (("training_rows", self.training_rows), ("partition_rows", self.partition_rows))
            if low > high
        ]
        if faults:
            raise FaultsError(faults)
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
    freshness : Freshness
        Deadlines: until when scores, a newer champion, labels and approvals are expected. The watcher reports what is
        later.
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
    freshness: Freshness = Freshness()
    alert_channels: tuple[Identifier, ...] = ()
    tags: tuple[str, ...] = ()
    parity_tolerance: PositiveFloat = 1e-5
    seed: int = 0
    approval: ApprovalPolicy | None = None
    shadow: Shadow | None = None
    reproducible: bool = False
    folder: Path = Field(default=Path(), exclude=True)
    _read_digest: str = PrivateAttr(default="")

    @field_validator("target")
    @classmethod
    def _boolean_without_classes(cls, target: Target, info: ValidationInfo) -> Target:
        if info.data.get("task") != "binary" or target.classes:
            return target
        return target.model_copy(update={"classes": BOOLEAN_CLASSES})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if faults := faults_between_fields(self):
            raise FaultsError(faults)
        return self

    @property
    def policy(self) -> tuple[Gate, ...]:
        """The gates of a candidate: the declared ones or the task's defaults, and those always required."""
        gates = self.gates or default_gates(self.task)
        if not any(isinstance(gate, MinimumLabels) for gate in gates):
            gates = (default_minimum_labels(self.task), *gates)
        return (*gates, Reproducible()) if self.reproducible and Reproducible() not in gates else gates

    @property
    def champion_max_age(self) -> timedelta | None:
        """The maximum age of the end of the champion's data, declared or by default; None: there is no maximum."""
        if self.freshness.champion_max_age is not None:
            return self.freshness.champion_max_age
        if self.retrain_schedule is None:
            return None
        return default_champion_max_age(self.retrain_schedule, self.target.label_delay)

    @property
    def approval_within(self) -> timedelta:
        """How long a version may wait for an approval, declared or by default."""
        if self.freshness.approval_within is not None:
            return self.freshness.approval_within
        return APPROVAL_WITHIN if self.approval is None else min(APPROVAL_WITHIN, self.approval.timeout / 2)

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
        """SHA-256 of the declaration as it is at this moment: the bytes of ``spec.py`` and ``features.sql``."""
        return declaration_digest(*((self.folder / name).read_bytes() for name in (SPEC_FILE, QUERY_FILE)))

    @property
    def read_digest(self) -> str:
        """The `digest` of the files that these values were read from; empty when they were not read from files."""
        return self._read_digest

    def read_from(self, folder: Path, digest: str) -> Self:
        """Return the declaration as one that was read from the files of `folder`, which had `digest`."""
        copy = self.model_copy(update={"folder": folder})
        copy._read_digest = digest  # noqa: SLF001  # of a copy of this very object
        return copy


def declaration_digest(code: bytes, query: bytes) -> str:
    """Return the SHA-256 of a declaration with these bytes of ``spec.py`` and ``features.sql``."""
    digest = hashlib.sha256()
    for name, content in ((SPEC_FILE, code), (QUERY_FILE, query)):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def faults_between_fields(spec: ModelSpec, without: Collection[str] = ()) -> list[Fault]:
    """Return what is wrong with fields of a declaration that are each valid alone.

    Parameters
    ----------
    spec : ModelSpec
    without : collection of str
        Fields that are invalid or missing; no rule looks at them.
    """
    usable = [find for fields, find in RULES.items() if not set(fields) & set(without)]
    return [fault for find in usable for fault in find(spec)]


def _names_differ(spec: ModelSpec) -> Iterator[Fault]:
    places: dict[str, list[tuple[str | int, ...]]] = {}
    places.setdefault(spec.entity_key.column, []).append(("entity_key", "column"))
    places.setdefault(spec.event_time, []).append(("event_time",))
    places.setdefault(spec.target.column, []).append(("target", "column"))
    for position, feature in enumerate(spec.features):
        places.setdefault(feature.name, []).append(("features", position, "name"))
    for name, paths in sorted(places.items()):
        if len(paths) > 1:
            yield Fault(paths[-1], f"every column needs a different name; duplicate names: {name}")


def _classes_fit_the_task(spec: ModelSpec) -> Iterator[Fault]:
    classes, path = spec.target.classes, ("target", "classes")
    found = len(classes)
    # A binary target without classes is boolean.
    wanted = {"binary": found in (0, 2), "multiclass": found >= 3, "regression": found == 0}
    if not wanted[spec.task]:
        count = {"binary": "exactly 2", "multiclass": "at least 3", "regression": "no"}[spec.task]
        yield Fault(path, f"a {spec.task} target needs {count} classes; found {found}")
    if len(set(classes)) != found:
        yield Fault(path, f"classes must differ from each other; found {', '.join(classes)}")
    elif len(set(class_columns(classes).values())) != found:
        yield Fault(path, "two classes would have the same column of scores: rename one of them")


def _threshold_fits_the_task(spec: ModelSpec) -> Iterator[Fault]:
    if spec.decision_threshold is not None and spec.task != "binary":
        yield Fault(
            ("decision_threshold",), f"decision_threshold is for a binary model; found a {spec.task} one: remove it"
        )


def _a_run_waits_for_its_start(spec: ModelSpec) -> Iterator[Fault]:
    """Refuse a start that no run would wait for, that could never come, or that many partitions would wait for."""
    start, path = spec.score_start, ("score_start",)
    if not start.longest:
        return
    if spec.score_schedule is None:
        yield Fault(path, "score_start is for scheduled runs: declare score_schedule, or remove score_start")
        return
    if start.asset in (f"{spec.name}_scores", f"sluice://{spec.name}/scores"):
        yield Fault(path, f"score_start waits for the asset '{start.asset}', which this model's own scores update")
    if start.waiting_runs(spec.score_schedule) > MAX_WAITING_RUNS:
        yield Fault(
            path,
            f"score_start: at most {MAX_WAITING_RUNS} partitions may wait at the same time; found more, with the "
            f"schedule '{spec.score_schedule}' and up to {start.longest}. Shorten the delay or the deadline",
        )


def _deadlines_can_be_met(spec: ModelSpec) -> Iterator[Fault]:
    """Refuse deadlines of what the model does not have, and those that pass before the work can begin."""
    declared, path = spec.freshness, ("freshness", "scores_by")
    scores_by, longest = declared.scores_by, spec.score_start.longest
    if scores_by is not None and spec.score_schedule is None:
        yield Fault(path, "scores_by is for scheduled runs: declare score_schedule, or remove scores_by")
    elif scores_by is not None and spec.score_schedule is not None:
        margin = scores_by if isinstance(scores_by, timedelta) else earliest_margin(spec.score_schedule, scores_by)
        if margin <= longest:
            yield Fault(
                path,
                f"scores_by must come after the latest start of a run, {longest} after the end of the partition; found "
                f"a time {margin} after it, with the schedule '{spec.score_schedule}'",
            )
    within, path = declared.approval_within, ("freshness", "approval_within")
    if within is None:
        return
    if spec.approval is None:
        yield Fault(path, "approval_within is for models with an approval: declare approval, or remove approval_within")
    elif within >= spec.approval.timeout:
        yield Fault(
            path,
            f"approval_within must be shorter than the timeout of the approval, {spec.approval.timeout}, after which "
            f"nobody can approve any more; found {within}",
        )


def _labels_come_after_their_delay(spec: ModelSpec) -> Iterator[Fault]:
    labels_by, delay = spec.freshness.labels_by, spec.target.label_delay
    if labels_by is not None and labels_by <= delay:
        yield Fault(
            ("freshness", "labels_by"),
            f"labels_by must be longer than the target's label_delay, {delay}; found {labels_by}",
        )


def _gates_fit_the_task(spec: ModelSpec) -> Iterator[Fault]:
    """Refuse gates that could never be measured on a model of this task."""
    for position, gate in enumerate(spec.gates):
        path, task = ("gates", position), spec.task
        metric = "ece" if isinstance(gate, Calibration) else getattr(gate, "metric", None)
        if metric is not None and task not in METRICS[metric].tasks:
            known = [name for name, each in METRICS.items() if task in each.tasks]
            advice = "remove it" if isinstance(gate, Calibration) else f"use one of {', '.join(known)}"
            yield Fault(
                (*path, "metric"),
                f"the gate {gate.kind} measures {metric}, which a {task} model does not have: {advice}",
            )
        if isinstance(gate, MinimumLabels) and gate.per_class and task == "regression":
            yield Fault((*path, "per_class"), "the gate minimum_labels: a regression has no classes; remove per_class")
        if isinstance(gate, PredictionChurn) and gate.max_label_flips is not None and task == "regression":
            yield Fault(
                (*path, "max_label_flips"),
                "the gate prediction_churn: a regression has no labels; remove max_label_flips",
            )


def _slices_are_of_features(spec: ModelSpec) -> Iterator[Fault]:
    kinds = _matrix_types(spec)
    for position, each in enumerate(spec.evaluation.slices):
        path = ("evaluation", "slices", position)
        if each.feature not in kinds:
            yield Fault((*path, "feature"), f"evaluation.slices names '{each.feature}', which is not a feature")
        elif (kinds[each.feature] == "numeric") != bool(each.cuts):
            yield Fault(
                path, f"a slice by '{each.feature}' ({kinds[each.feature]}) needs cuts if, and only if, numeric"
            )


def _gates_have_what_they_need(spec: ModelSpec) -> Iterator[Fault]:
    """Refuse gates that need slices, a second training or a feature of another type."""
    kinds = _matrix_types(spec)
    sliced = {each.feature for each in spec.evaluation.slices}
    for position, gate in enumerate(spec.gates):
        path = ("gates", position)
        if isinstance(gate, SliceThreshold | NoInferiorSlice) and not (
            sliced if gate.feature is None else gate.feature in sliced
        ):
            yield Fault(
                path, f"the gate {gate.kind} needs slices by {gate.feature or 'any feature'}: declare evaluation.slices"
            )
        if isinstance(gate, Reproducible) and not spec.reproducible:
            yield Fault(path, "the gate reproducible needs a second training: declare reproducible=True")
        if isinstance(gate, FairnessGap) and (spec.task != "binary" or kinds.get(gate.feature) in (None, "numeric")):
            yield Fault(
                (*path, "feature"),
                f"a fairness_gap is for a binary model, by a categorical or boolean feature; found '{gate.feature}'",
            )


def _bounds_are_of_the_scores(spec: ModelSpec) -> Iterator[Fault]:
    classes = spec.target.classes or (BOOLEAN_CLASSES if spec.task == "binary" else ())
    columns = list(class_columns(classes).values()) or ["value"]
    for position, bound in enumerate(spec.scoring.bounds):
        named, known = (bound.column, columns) if bound.kind == "mean_score" else (bound.label, list(classes))
        if named not in known:
            yield Fault(
                ("scoring", "bounds", position),
                f"a bound of scoring names one of {', '.join(known) or 'no classes'}; found {named}",
            )


def _matrix_types(spec: ModelSpec) -> dict[str, str]:
    return {feature.name: feature.matrix_type for feature in spec.features}


RULES: Mapping[tuple[str, ...], Callable[[ModelSpec], Iterator[Fault]]] = {
    ("entity_key", "event_time", "target", "features"): _names_differ,
    ("task", "target"): _classes_fit_the_task,
    ("task", "decision_threshold"): _threshold_fits_the_task,
    ("name", "score_start", "score_schedule"): _a_run_waits_for_its_start,
    ("freshness", "score_schedule", "score_start", "approval"): _deadlines_can_be_met,
    ("freshness", "target"): _labels_come_after_their_delay,
    ("task", "gates"): _gates_fit_the_task,
    ("features", "evaluation"): _slices_are_of_features,
    ("task", "features", "evaluation", "gates", "reproducible"): _gates_have_what_they_need,
    ("task", "target", "scoring"): _bounds_are_of_the_scores,
}
"""Functions that find faults, by the fields that they look at."""
