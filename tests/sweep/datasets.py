"""Real data sets as a declaration and its training data: numbers alone, and numbers with categories, for each task.

breast cancer, wine and diabetes come with scikit-learn; the flights are the sample that Sluice has anyway. Nothing is
read from a database: the sweep looks at estimators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from include.inference import ModelSignature
from include.inference.feature_types import feature_type
from include.spec import Boolean, Categorical, Columns, Contract, EntityKey, ModelSpec, Numeric, Target, TrainingWindow
from include.spec.base import Task
from include.training.data import TrainingData
from include.warehouse.sample_flights import FLIGHTS, open_file

Nulls = Literal["none", "training", "later", "open"]
"""Which rows the declaration lets in.

none: no nulls; training: nulls are declared, and the training rows have some; later: nulls are declared, and neither
the training rows nor the holdout have one; open: no nulls, but numbers beyond their range.
"""

NULL_SHARE = 0.1
HOLDOUT_SHARE = 0.3
FLIGHT_ROWS = 900


@dataclass(frozen=True, slots=True)
class Table:
    """A data set: a frame of features (numbers, booleans, strings) and the target: class labels, or values."""

    name: str
    task: Task
    features: pd.DataFrame
    target: pd.Series

    @property
    def classes(self) -> tuple[str, ...]:
        return () if self.task == "regression" else tuple(sorted(self.target.unique()))


@dataclass(frozen=True, slots=True)
class Problem:
    """A declaration with its training data; `out_of_range` has the features that take numbers beyond their range."""

    spec: ModelSpec
    data: TrainingData


@cache
def table(name: str) -> Table:
    """Return the data set `name`, one of `TABLES`."""
    return TABLES[name]()


def problem(name: str, nulls: Nulls, build: Callable[[Columns], Any]) -> Problem:
    """Return the data set `name` with the estimator that `build` builds, and nulls as declared."""
    source = table(name)
    random = np.random.default_rng(11)
    order = random.permutation(len(source.features))
    frame = source.features.iloc[order].reset_index(drop=True)
    target = source.target.iloc[order].reset_index(drop=True)
    if nulls == "training":
        frame = _with_nulls(frame, random)
    declared = tuple(_feature(frame[column], str(column), nulls) for column in frame)
    spec = ModelSpec(
        name=name,
        task=source.task,
        description="a configuration of the sweep",
        owner="tests",
        source=f"source.{name}",
        entity_key=EntityKey(column="row_key"),
        event_time="seen_at",
        features=declared,
        target=Target(column="outcome", classes=source.classes),
        estimator=build,
        window=TrainingWindow(train=timedelta(days=30), holdout=timedelta(days=10)),
        contract=Contract(training_rows=(1, 100_000), partition_rows=(1, 100_000)),
    )
    return Problem(spec, _training_data(spec, frame, target))


def _with_nulls(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    nullable = frame.astype({column: object for column in frame if frame[column].dtype == bool})
    return nullable.mask(random.random(frame.shape) < NULL_SHARE, other=None)


def _feature(values: pd.Series, name: str, nulls: Nulls) -> Numeric | Categorical | Boolean:
    nullable = nulls in ("training", "later")
    known = values.dropna()
    types = {type(each) for each in known.tolist()}
    if types == {bool}:
        return Boolean(name=name, nullable=nullable)
    if types == {str}:
        return Categorical(name=name, nullable=nullable)
    return Numeric(
        name=name,
        unit="",
        minimum=_outward(min(0.0, 1.2 * known.min()), -np.inf),
        maximum=_outward(1.2 * known.max(), np.inf),
        nullable=nullable,
        out_of_range="ignore" if nulls == "open" else "error",
    )


def _outward(value: float, towards: float) -> float:
    """Return the nearest single-precision number that is not inside `value`, so that the bound itself is a value."""
    rounded = np.float32(value)
    inside = rounded < value if towards > 0 else rounded > value
    return float(np.nextafter(rounded, np.float32(towards)) if inside else rounded)


def _training_data(spec: ModelSpec, frame: pd.DataFrame, target: pd.Series) -> TrainingData:
    border = int(len(frame) * (1 - HOLDOUT_SHARE))
    columns = {name: _arrow(frame[name]) for name in frame}
    learned = tuple(feature_type(each).learn(columns[each.name].slice(0, border)) for each in spec.features)
    matrix = np.column_stack([feature_type(each).arrow_encoder()(columns[each.name]) for each in learned])
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    labels: Any  # class indices, or values
    if spec.target.classes:
        labels = target.map({label: code for code, label in enumerate(spec.target.classes)}).to_numpy(np.int64)
    else:
        labels = target.to_numpy(np.float64)
    return TrainingData(
        signature=ModelSignature(
            model=spec.name,
            task=spec.task,
            entity_key=spec.entity_key,
            event_time=spec.event_time,
            features=learned,
            classes=spec.target.classes,
        ),
        x_train=matrix[:border],
        y_train=labels[:border],
        x_holdout=matrix[border:],
        y_holdout=labels[border:],
        holdout=pa.table(columns).slice(border).combine_chunks(),
    )


def _arrow(values: pd.Series) -> pa.ChunkedArray:
    plain = [None if pd.isna(value) else value for value in values.tolist()]
    return pa.chunked_array([pa.array(plain)])


# The data sets


def _cancer() -> Table:
    found = load_breast_cancer(as_frame=True)
    frame = found.data[
        ["mean radius", "mean texture", "mean smoothness", "mean concavity", "area error", "worst texture"]
    ]
    frame = frame.rename(columns=lambda name: name.replace(" ", "_"))
    return Table("cancer", "binary", frame, found.target.map({0: "malignant", 1: "benign"}))


def _wine() -> Table:
    found = load_wine(as_frame=True)
    frame = found.data[["alcohol", "malic_acid", "ash", "magnesium", "flavanoids", "color_intensity", "proline"]]
    # 178 wines. Three rounds with other noise in the last digits make it large enough for a holdout.
    random = np.random.default_rng(5)
    rounds = [frame * (1 + random.normal(0, 0.03, frame.shape)) for _ in range(2)]
    labels = found.target.map({0: "barolo", 1: "grignolino", 2: "barbera"})
    return Table("wine", "multiclass", pd.concat([frame, *rounds]).round(3), pd.concat([labels] * 3))


def _diabetes() -> Table:
    found = load_diabetes(as_frame=True, scaled=False)
    frame = found.data[["age", "sex", "bmi", "bp", "s1", "s3", "s5", "s6"]]
    return Table("diabetes", "regression", frame.assign(sex=frame["sex"] == 2), found.target)


@cache
def _flights() -> pd.DataFrame:
    with open_file(FLIGHTS) as file:
        found = pd.read_csv(file).dropna(subset=["arr_delay", "dep_delay", "air_time"])
    found = found.sample(FLIGHT_ROWS, random_state=3)
    return found.assign(weekend=pd.to_datetime(found[["year", "month", "day"]]).dt.dayofweek >= 5)


def _flight_features(found: pd.DataFrame) -> pd.DataFrame:
    numbers = found[["distance", "hour", "dep_delay", "air_time"]].astype(float)
    return numbers.assign(carrier=found["carrier"], origin=found["origin"], weekend=found["weekend"])


def _late_flights() -> Table:
    found = _flights()
    late = pd.Series(np.where(found["arr_delay"] > 0, "late", "on_time"), index=found.index)
    return Table("flights", "binary", _flight_features(found), late)


def _kinds_of_flights() -> Table:
    found = _flights()
    kind = pd.cut(found["arr_delay"], [-np.inf, -15, 5, np.inf], labels=["early", "on_time", "late"]).astype(str)
    return Table("arrivals", "multiclass", _flight_features(found), kind)


def _minutes_of_flights() -> Table:
    found = _flights()
    return Table("minutes", "regression", _flight_features(found), found["arr_delay"].clip(lower=-40) + 45.0)


TABLES: dict[str, Callable[[], Table]] = {
    "cancer": _cancer,
    "wine": _wine,
    "diabetes": _diabetes,
    "flights": _late_flights,
    "arrivals": _kinds_of_flights,
    "minutes": _minutes_of_flights,
}
NUMBERS = {"binary": "cancer", "multiclass": "wine", "regression": "diabetes"}
"""By task, the data set of numbers (and one boolean)."""
MIXED = {"binary": "flights", "multiclass": "arrivals", "regression": "minutes"}
"""By task, the data set that has categories, too."""
