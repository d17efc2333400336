"""The words that a model is declared in.

A folder ``include/models/<name>/`` holds ``spec.py`` with one `ModelSpec` and, beside it,
``features.sql`` with one query. Everything else about the model (DAGs, score table, endpoints,
checks) follows from the two. Importing this module loads neither numpy nor scikit-learn, so that a
DAG file parses in milliseconds: the estimator is built by a function that a task calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
ClassLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Task = Literal["binary", "multiclass", "regression"]
Metric = Literal[
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "macro_f1", "mae", "rmse", "r2"
]  # fmt: skip

HIGHER_IS_BETTER: frozenset[str] = frozenset({"roc_auc", "average_precision", "accuracy", "macro_f1", "r2"})


class Word(BaseModel):
    """The parent of every word: frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Numeric(Word):
    """A number, with its unit and the range in which it makes sense.

    `out_of_range` is what the service does with a value beyond the range; in batches the data
    contract stops such a value either way.
    """

    kind: Literal["numeric"] = "numeric"
    name: Identifier
    unit: str
    low: float
    high: float
    missing: bool = False
    out_of_range: Literal["reject", "accept"] = "reject"

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high must be above low; found low={self.low}, high={self.high}")
        return self


class Categorical(Word):
    """One of several strings.

    With no `categories`, they are learned from the training rows and kept with the artifact.
    `unknown` is what happens to a category never seen: ``encode`` treats it as missing is treated,
    ``reject`` refuses the row (and, with declared `categories`, stops a batch at validation).
    """

    kind: Literal["categorical"] = "categorical"
    name: Identifier
    categories: tuple[str, ...] = ()
    missing: bool = False
    unknown: Literal["reject", "encode"] = "encode"


class Boolean(Word):
    """True or false."""

    kind: Literal["boolean"] = "boolean"
    name: Identifier
    missing: bool = False


Feature = Annotated[Numeric | Categorical | Boolean, Field(discriminator="kind")]


class EntityKey(Word):
    """The column that names a row, unique within any period."""

    column: Identifier
    type: Literal["text", "bigint"] = "text"


class Target(Word):
    """What is predicted, and when its true value becomes known.

    For classification the query gives one of `classes` as text; for ``binary`` the second class is
    the positive one. Rows whose target is null are left out of training.
    """

    column: Identifier
    classes: tuple[ClassLabel, ...] = ()
    known_after: timedelta = timedelta(0)


class TrainingWindow(Word):
    """How far back to look: training, then a gap, then the holdout, which ends the window."""

    train: timedelta
    holdout: timedelta
    embargo: timedelta = timedelta(0)


class Contract(Word):
    """What must hold of the data beyond what the features already say of theirs.

    Row bounds are ``(fewest, most)`` for the whole training window and for one score partition.
    `freshness` is the greatest age of the newest row at the end of the training window.
    """

    training_rows: tuple[int, int]
    partition_rows: tuple[int, int]
    freshness: timedelta | None = None


class AtLeast(Word):
    """The candidate's metric must reach `bound`."""

    kind: Literal["at_least"] = "at_least"
    metric: Metric
    bound: float


class AtMost(Word):
    """The candidate's metric must not exceed `bound`."""

    kind: Literal["at_most"] = "at_most"
    metric: Metric
    bound: float


class BetterThanBaseline(Word):
    """The candidate must beat the baseline by more than `margin`."""

    kind: Literal["better_than_baseline"] = "better_than_baseline"
    metric: Metric
    margin: float = 0.0


class NotWorseThanChampion(Word):
    """The candidate may fall short of the champion by at most `margin`."""

    kind: Literal["not_worse_than_champion"] = "not_worse_than_champion"
    metric: Metric
    margin: float = 0.0


class MinimumLabels(Word):
    """The holdout must hold at least `rows` labelled rows."""

    kind: Literal["minimum_labels"] = "minimum_labels"
    rows: int


Gate = Annotated[
    AtLeast | AtMost | BetterThanBaseline | NotWorseThanChampion | MinimumLabels, Field(discriminator="kind")
]


class Columns:
    """Where each feature stands in the matrix that an estimator is given.

    The estimator sees ``X`` of shape (n_samples, n_features), float32, in the declared order:
    numbers as they are with NaN for missing, booleans as 0 and 1 with NaN for missing, categories as
    codes 0, 1, 2, ... in sorted order with -1 for missing or never seen.
    """

    __slots__ = ("boolean", "categorical", "names", "numeric")

    def __init__(self, features: tuple[Numeric | Categorical | Boolean, ...]) -> None:
        self.names: tuple[str, ...] = tuple(feature.name for feature in features)
        self.numeric: list[int] = [i for i, f in enumerate(features) if f.kind == "numeric"]
        self.categorical: list[int] = [i for i, f in enumerate(features) if f.kind == "categorical"]
        self.boolean: list[int] = [i for i, f in enumerate(features) if f.kind == "boolean"]

    def index(self, *names: str) -> list[int]:
        """Return the positions of the features `names`."""
        return [self.names.index(name) for name in names]


EstimatorBuilder = Callable[[Columns], Any]
"""Builds an unfitted scikit-learn estimator. `Any`: scikit-learn must not be imported here."""


class ModelSpec(Word):
    """A model, declared.

    Parameters
    ----------
    name : str
        The folder's name; also the name in DAG ids, tables and routes.
    task : {"binary", "multiclass", "regression"}
    description, owner : str
        Shown in the Airflow UI and in alerts.
    source : str
        The table or view that feeds `features.sql`, ``schema.table``; it becomes an Airflow asset.
    entity_key, event_time, features, target
        Columns of the query in ``features.sql``, which binds ``:period_start`` and ``:period_end``.
    estimator : callable
        Takes `Columns`, returns an unfitted scikit-learn estimator.
    retrain, score : str or None
        Cron expressions in UTC; None: only by hand. The score schedule's interval is the partition.
    alert_channels : tuple of str
        Names of channels that the operator maps to addresses with SLUICE_ALERT_CHANNELS.
    parity_tolerance : float
        Greatest difference allowed between ONNX and scikit-learn on the holdout: of a probability,
        or, for a regression, relative to the largest absolute prediction.
    """

    name: Identifier
    task: Task
    description: str
    owner: str
    source: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
    entity_key: EntityKey
    event_time: Identifier
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    target: Target
    estimator: EstimatorBuilder = Field(exclude=True)
    window: TrainingWindow
    contract: Contract
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]
    retrain: str | None = None
    score: str | None = "0 0 * * *"
    alert_channels: tuple[Identifier, ...] = ()
    tags: tuple[str, ...] = ()
    parity_tolerance: float = 1e-5
    seed: int = 0
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [self.entity_key.column, self.event_time, self.target.column, *(f.name for f in self.features)]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"every column needs a name of its own; found twice: {', '.join(doubled)}")
        found = len(self.target.classes)
        wanted = {"binary": found == 2, "multiclass": found >= 3, "regression": found == 0}
        if not wanted[self.task]:
            count = {"binary": "exactly 2", "multiclass": "at least 3", "regression": "no"}[self.task]
            raise ValueError(f"a {self.task} target needs {count} classes; found {found}")
        if len(set(self.target.classes)) != found:
            raise ValueError(f"classes must differ from each other; found {', '.join(self.target.classes)}")
        return self

    @property
    def columns(self) -> Columns:
        """Where each feature stands in the estimator's matrix."""
        return Columns(self.features)

    @property
    def query(self) -> str:
        """The text of ``features.sql``."""
        return (self.folder / "features.sql").read_text(encoding="utf-8").strip().rstrip(";")

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration: the bytes of ``spec.py`` and ``features.sql``."""
        digest = hashlib.sha256()
        for name in ("spec.py", "features.sql"):
            content = (self.folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()
