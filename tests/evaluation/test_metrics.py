"""Metrics, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from include.evaluation import measure
from include.evaluation.metrics import METRIC_FUNCTIONS
from include.spec import METRICS


def test_a_perfect_binary_model() -> None:
    measured = measure("binary", np.array([0, 1, 0, 1]), np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]]))
    assert measured == pytest.approx(
        dict.fromkeys(("roc_auc", "average_precision", "accuracy", "macro_f1", "f1"), 1)
        | dict.fromkeys(("brier", "log_loss", "ece", "mce"), 0),
        abs=1e-9,
    )


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    late = np.array([0.1, 0.4, 0.35, 0.8])  # 3 of the 4 pairs (negative, positive) are in order
    measured = measure("binary", np.array([0, 0, 1, 1]), np.column_stack([1 - late, late]))
    assert measured["roc_auc"] == pytest.approx(0.75)


def test_a_metric_that_the_rows_cannot_tell_is_left_out() -> None:
    measured = measure("binary", np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert "roc_auc" not in measured
    assert measured["accuracy"] == 1.0


def test_the_brier_score_of_several_classes_is_the_squared_distance_to_the_truth() -> None:
    measured = measure("multiclass", np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert measured["brier"] == pytest.approx(2 / 3)
    assert measured["log_loss"] == pytest.approx(np.log(3))


def test_regression() -> None:
    measured = measure("regression", np.array([1.0, 2.0, 3.0]), np.array([[1.0], [2.0], [5.0]]))
    assert measured == pytest.approx({"mae": 2 / 3, "rmse": np.sqrt(4 / 3), "r2": -1.0, "pinball": 1 / 3})


def test_every_metric_has_a_function_and_one_way_to_its_uncertainty() -> None:
    assert list(METRIC_FUNCTIONS) == list(METRICS)
    for function in METRIC_FUNCTIONS.values():
        assert (function.resampled is None) != (function.influence is None), function.name


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_task_has_exactly_the_metrics_that_say_so(task: str) -> None:
    random = np.random.default_rng(0)
    if task == "regression":
        measured = measure(task, random.normal(size=50), random.normal(size=(50, 1)))
    else:
        classes = 2 if task == "binary" else 3
        measured = measure(task, np.arange(60) % classes, random.dirichlet((1,) * classes, 60))
    assert list(measured) == [metric.name for metric in METRICS.values() if task in metric.tasks]
    assert all(METRICS[name].minimum <= value <= METRICS[name].maximum for name, value in measured.items())
