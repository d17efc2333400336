"""The bootstrap without a loop gives what scikit-learn gives on each resample; blocks of time; intervals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pytest
from sklearn import metrics

from include.evaluation import measure
from include.evaluation.blocks import Blocks, blocks_of
from include.evaluation.calibration import bin_of, calibration_errors
from include.evaluation.intervals import IntervalConfig, differences_of, intervals_of, measure_all
from include.evaluation.metrics import METRIC_FUNCTIONS
from include.evaluation.predictions import Predictions
from include.evaluation.resampling import Resamples

DAY = int(timedelta(days=1) / timedelta(microseconds=1))


def answers(task: str, seed: int = 0, count: int = 1200) -> tuple[np.ndarray, np.ndarray, Blocks]:
    random = np.random.default_rng(seed)
    blocks = Blocks(np.sort(random.integers(0, 20, count)), 20, "")
    if task == "regression":
        truth = random.normal(10, 3, count)
        return truth, (truth + random.normal(0, 2, count)).reshape(-1, 1), blocks
    classes = 2 if task == "binary" else 3
    truth = random.integers(0, classes, count)
    odds = np.round(random.random((count, classes)) + np.eye(classes)[truth] * 0.4, 2) + 0.01  # with ties
    return truth, odds / odds.sum(axis=1, keepdims=True), blocks


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_metric_of_a_resample_is_what_scikit_learn_says_of_its_rows(task: str) -> None:
    truth, scores, blocks = answers(task)
    predictions = Predictions(task, truth, scores, 0.4, 0.3)
    measured = measure(task, truth, scores, threshold=0.4, quantile=0.3)

    def resampled(drawn: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        resamples = Resamples(predictions, blocks, drawn)
        return {name: METRIC_FUNCTIONS[name].variation(resamples) for name in names}

    drawn = blocks.resample(6, seed=1)
    found = resampled(drawn, measured.keys() - {"roc_auc"})
    for draw, times in enumerate(drawn):
        rows = np.repeat(np.arange(len(truth)), times[blocks.of_row].astype(int))
        wanted = measure(task, truth[rows], scores[rows], threshold=0.4, quantile=0.3)
        # Calibration keeps the bins of all rows, so that a resample does not move them.
        for name in wanted.keys() - {"roc_auc", "ece", "mce"}:
            assert found[name][draw] == pytest.approx(wanted[name], rel=1e-4), name
    summed = measured.keys() - {"roc_auc", "average_precision"}
    once = resampled(np.ones((1, 20), dtype=np.float32), summed)
    assert {name: float(value[0]) for name, value in once.items()} == pytest.approx(
        {name: measured[name] for name in summed}, rel=1e-9
    )


def test_the_r2_of_a_resample_does_not_depend_on_where_the_values_lie() -> None:
    truth, scores, blocks = answers("regression")
    near, far = (
        METRIC_FUNCTIONS["r2"].variation(
            Resamples(Predictions("regression", truth + offset, scores + offset), blocks, blocks.resample(6, seed=1))
        )
        for offset in (0.0, 2.0**31)
    )
    np.testing.assert_allclose(far, near, rtol=1e-4)


def test_the_error_of_the_bootstrap_is_that_of_a_plain_loop_over_resamples() -> None:
    truth, scores, blocks = answers("binary")
    config = IntervalConfig(n_resamples=4000)
    estimates = measure_all("binary", truth, {"candidate": scores}, blocks, config)["candidate"]
    random, looped = np.random.default_rng(3), []
    for _ in range(400):
        drawn = random.integers(0, 20, 20)
        rows = np.concatenate([np.flatnonzero(blocks.of_row == each) for each in drawn])
        looped.append(
            (
                metrics.average_precision_score(truth[rows], scores[rows, 1]),
                metrics.roc_auc_score(truth[rows], scores[rows, 1]),
            )
        )
    loop_ap, loop_auc = np.std(looped, axis=0)
    assert np.std(estimates.variation["average_precision"]) == pytest.approx(loop_ap, rel=0.15)
    reach = intervals_of(estimates, blocks, IntervalConfig())["roc_auc"]
    assert (reach.high - reach.low) / 2 / 2.093 == pytest.approx(loop_auc, rel=0.2)  # t with 19 degrees of freedom


def test_a_model_differs_from_itself_by_nothing_for_sure() -> None:
    truth, scores, blocks = answers("multiclass")
    both = measure_all("multiclass", truth, {"candidate": scores, "champion": scores.copy()}, blocks, IntervalConfig())
    differences = differences_of(both["candidate"], both["champion"], blocks, IntervalConfig())
    assert set(differences) == set(both["candidate"].values) >= {"roc_auc", "average_precision", "ece", "micro_f1"}
    assert {(each.value, each.standard_error, each.low, each.high) for each in differences.values()} == {
        (0.0, 0.0, 0.0, 0.0)
    }


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    truth, scores, blocks = answers("regression")
    rival = scores + 0.05
    both = measure_all("regression", truth, {"candidate": scores, "champion": rival}, blocks, IntervalConfig())
    gap = differences_of(both["candidate"], both["champion"], blocks, IntervalConfig())["mae"]
    alone = intervals_of(both["candidate"], blocks, IntervalConfig())["mae"]
    assert gap.value == pytest.approx(both["candidate"].values["mae"] - both["champion"].values["mae"])
    assert gap.high - gap.low < 0.2 * (alone.high - alone.low)


def test_intervals_keep_to_what_a_metric_can_be() -> None:
    truth, scores = np.array([0, 1] * 20), np.array([[0.9, 0.1], [0.1, 0.9]] * 20)
    blocks = Blocks(np.arange(40) // 2, 20, "")
    found = measure_all("binary", truth, {"candidate": scores}, blocks, IntervalConfig())["candidate"]
    ranges = intervals_of(found, blocks, IntervalConfig())
    assert all(0 <= each.low <= found.values[name] <= each.high for name, each in ranges.items())
    assert ranges["roc_auc"].high == 1.0


def test_days_are_blocks_and_too_few_of_them_are_halved_until_there_are_ten_and_it_is_said() -> None:
    times = np.arange(0, 30 * DAY, DAY // 8)
    assert blocks_of(times, timedelta(days=1)).count == 30
    few = blocks_of(times[: 3 * 8], timedelta(days=1))
    assert few.count == 12
    assert few.description == "12 blocks of 6:00:00 (instead of 1 day, 0:00:00, which gives fewer than 10)"
    same = blocks_of(np.zeros(100, dtype=np.int64), timedelta(days=1))
    assert (same.count, "too close for blocks of time" in same.description) == (10, True)
    assert np.bincount(same.of_row).tolist() == [10] * 10


def test_probabilities_that_come_true_as_often_as_they_say_are_calibrated() -> None:
    random = np.random.default_rng(0)
    said = random.random(60_000)
    true = (random.random(60_000) < said).astype(float)
    ece, mce = calibration_errors(said, true)
    assert ece < 0.01
    assert ece <= mce < 0.03
    assert calibration_errors(said**2, true)[0] > 0.1
    assert np.bincount(bin_of(said)).tolist() == [4000] * 15


def test_calibration_by_hand() -> None:
    said, true = np.array([0.2] * 10 + [0.8] * 30), np.array([1.0] * 5 + [0.0] * 5 + [1.0] * 24 + [0.0] * 6)
    assert calibration_errors(said, true) == pytest.approx((0.3 * 10 / 40, 0.3))
