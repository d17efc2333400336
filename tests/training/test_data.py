"""Snapshots and what is read from them: the same rows, the same digest; nothing of the holdout leaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from include.errors import ArtifactError, NotEnoughDataError, PrecisionError
from include.inference import RowEncoder, Scorer
from include.inference.batch import encode_batch
from include.spec import Categorical, DecisionThreshold, ModelSpec, Numeric
from include.training import (
    export_candidate,
    fit_candidate,
    read_training_data,
    require_parity,
    split_by_time,
    write_snapshot,
)
from include.training.export import export_onnx
from include.training.onnx_parity import Subject, compare_holdout
from tests.builders import TODAY, declare_model
from tests.training.parcels import PER_DAY, rows, snapshot


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return declare_model(tmp_path / "models")


def test_the_holdout_is_the_last_days_whose_labels_are_known(spec: ModelSpec) -> None:
    delayed = spec.model_copy(update={"target": spec.target.model_copy(update={"label_delay": timedelta(days=3)})})
    split = split_by_time(delayed, TODAY)
    assert split.holdout.end == datetime(2026, 2, 26, tzinfo=UTC)
    assert split.holdout.start == split.train.end == datetime(2026, 2, 16, tzinfo=UTC)


def test_all_runs_of_a_day_have_the_same_split(spec: ModelSpec) -> None:
    assert split_by_time(spec, TODAY.replace(hour=0)) == split_by_time(spec, TODAY.replace(hour=23, minute=59))


def test_an_embargo_keeps_training_away_from_the_holdout(spec: ModelSpec) -> None:
    window = spec.window.model_copy(update={"gap": timedelta(days=2)})
    split = split_by_time(spec.model_copy(update={"window": window}), TODAY)
    assert split.holdout.start - split.train.end == timedelta(days=2)


@pytest.mark.parametrize("as_of", [datetime(1, 1, 1, tzinfo=UTC), datetime(1, 2, 1, tzinfo=UTC)])
def test_a_window_before_the_first_year_is_refused_in_a_sentence(spec: ModelSpec, as_of: datetime) -> None:
    with pytest.raises(NotEnoughDataError, match=r"as of 0001-0.* begins 50 days before that time.*--as-of 2026"):
        split_by_time(spec, as_of)


def test_the_last_day_of_the_calendar_has_a_window(spec: ModelSpec) -> None:
    assert split_by_time(spec, datetime(9999, 12, 31, 23, tzinfo=UTC)).holdout.end.year == 9999


def test_the_same_rows_give_the_same_digest_and_other_rows_another(spec: ModelSpec, tmp_path: Path) -> None:
    first = snapshot(spec, rows(), tmp_path)
    assert snapshot(spec, rows(), tmp_path) == first
    changed = rows(weight=[1.0] + [float(n % 30) for n in range(1, 50 * PER_DAY)])
    assert snapshot(spec, changed, tmp_path).digest != first.digest


def test_rows_are_counted_by_part(spec: ModelSpec, tmp_path: Path) -> None:
    taken = snapshot(spec, rows(), tmp_path)
    assert (taken.train_rows, taken.holdout_rows) == (40 * PER_DAY, 10 * PER_DAY)


def test_too_few_rows_name_the_period_and_the_way_out(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match=r"the training period, .* holds 0 labelled row\(s\).*change `window`"):
        snapshot(spec, rows(days=10), tmp_path)


def test_a_snapshot_that_was_changed_is_not_used(spec: ModelSpec, tmp_path: Path) -> None:
    taken = snapshot(spec, rows(), tmp_path)
    with Path(taken.path).open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    with pytest.raises(ArtifactError, match="changed after it was taken"):
        read_training_data(spec, taken)


def test_categories_are_learned_from_training_rows_alone(spec: ModelSpec, tmp_path: Path) -> None:
    learned = spec.model_copy(
        update={"features": tuple(Categorical(name=f.name) if f.name == "carrier" else f for f in spec.features)}
    )
    carriers = ["bee", "ant"] * (20 * PER_DAY) + ["new"] * (10 * PER_DAY)
    data = read_training_data(learned, snapshot(learned, rows(carrier=carriers), tmp_path))
    (carrier,) = [f for f in data.signature.features if f.kind == "categorical"]
    assert carrier.categories == ("ant", "bee")
    assert set(data.x_train[:, 2]) == {0.0, 1.0}
    assert set(data.x_holdout[:, 2]) == {-1.0}


@pytest.mark.parametrize("step", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(), "passthrough"])
def test_a_missing_string_is_answered_in_onnx_as_in_scikit_learn(spec: ModelSpec, tmp_path: Path, step: object) -> None:
    """As it is by batches and by JSON; a text that reads like a missing one is a category like others."""
    carrier = Categorical(name="carrier", nullable=True)
    optional = spec.model_copy(update={"features": tuple(carrier if f.name == "carrier" else f for f in spec.features)})
    names = [None, "nan", "", "bee", "None"]
    batch = rows(carrier=[names[n % 5] for n in range(50 * PER_DAY)])
    data = read_training_data(optional, snapshot(optional, batch, tmp_path))
    (learned,) = [f for f in data.signature.features if f.kind == "categorical"]
    assert learned.categories == ("", "None", "bee", "nan")
    assert set(data.x_train[:, 2]) == {-1.0, 0.0, 1.0, 2.0, 3.0}
    estimator = make_pipeline(
        make_column_transformer((step, [2]), (SimpleImputer(), [0, 1, 3])), LogisticRegression(max_iter=500)
    ).fit(data.x_train, data.y_train)
    scorer = Scorer(export_onnx(optional, estimator), data.signature)
    found = compare_holdout(Subject(optional.name, estimator, scorer, optional.parity_tolerance, data.x_holdout))
    assert (found.changed_labels, found.largest_difference < optional.parity_tolerance) == (0, True)
    asked = batch.slice(0, 5)
    matrix = encode_batch(asked, data.signature)
    assert matrix[:, 2].tolist() == [-1.0, 3.0, 0.0, 2.0, 1.0]
    plain = [{f.name: row[f.name] for f in optional.features} for row in asked.to_pylist()]
    np.testing.assert_array_equal(RowEncoder(data.signature).encode(plain), matrix)


def test_targets_are_indices_in_the_declared_order(spec: ModelSpec, tmp_path: Path) -> None:
    data = read_training_data(spec, snapshot(spec, rows(), tmp_path))
    assert data.y_train[:6].tolist() == [1, 0, 0, 0, 0, 1]


def test_a_class_without_training_rows_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="found none of late"):
        read_training_data(spec, snapshot(spec, rows(outcome=["on_time"] * 50 * PER_DAY), tmp_path))


def test_a_feature_that_single_precision_blurs_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    seconds = [1_767_225_600.0 + 7 * n for n in range(50 * PER_DAY)]
    features = (*spec.features[1:], Numeric(name="weight", unit="s", minimum=0, maximum=2e9))
    epoch = spec.model_copy(update={"features": features})
    with pytest.raises(PrecisionError, match=r"feature 'weight'.*Subtract an origin"):
        read_training_data(epoch, snapshot(epoch, rows(weight=seconds), tmp_path))


def test_a_feature_whose_values_are_neighbours_in_single_precision_is_served(spec: ModelSpec, tmp_path: Path) -> None:
    """None merge with another, and a tree's threshold between two of them stays between them."""
    places = [n % 160 for n in range(50 * PER_DAY)]
    features = (Numeric(name="weight", unit="s", minimum=0, maximum=2e9), *spec.features[1:])
    epoch = spec.model_copy(update={"features": features})
    batch = rows(
        weight=[1_700_000_000.0 + 128 * place for place in places],
        outcome=[("on_time", "late")[place // 20 % 2] for place in places],
    )
    fitted = fit_candidate(epoch, "run 1", snapshot(epoch, batch, tmp_path / "s"), tmp_path / "run")
    exported = export_candidate(epoch, fitted)
    assert exported.parity.changed_labels == 0
    require_parity(epoch, exported)


class Watched(DecisionTreeClassifier):
    """A tree that remembers which rows it was ever shown, by the first feature."""

    shown: ClassVar[list[float]] = []

    def fit(self, matrix, truth, **more):
        Watched.shown += matrix[:, 0].tolist()
        return super().fit(matrix, truth, **more)


def test_whatever_is_chosen_is_chosen_on_training_rows_alone(spec: ModelSpec, tmp_path: Path) -> None:
    """Estimator, early stopping, baseline and threshold: nothing sees the holdout, nor the gap before it."""
    window = spec.window.model_copy(update={"gap": timedelta(days=2)})
    built = spec.model_copy(
        update={
            "window": window,
            "estimator": lambda _: Watched(max_depth=3),
            "decision_threshold": DecisionThreshold(maximize="f1"),
        }
    )
    split = split_by_time(built, TODAY)
    numbered = rows(weight=[float(n) for n in range(50 * PER_DAY)])
    times = numbered.column("sent_at").to_pylist()
    Watched.shown.clear()
    fitted = fit_candidate(built, "run 1", write_snapshot([numbered], built, split, tmp_path / "s"), tmp_path / "run")
    seen = {times[int(number)] for number in Watched.shown}
    assert len(Watched.shown) > len(seen)  # once for the model, and once more for its threshold
    assert split.train.start <= min(seen) <= max(seen) < split.train.end == split.holdout.start - timedelta(days=2)
    assert set(fitted.thresholds) == {"candidate", "baseline"}
