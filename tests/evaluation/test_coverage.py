"""How often does the gate let through what it should not? A thousand pairs of models whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest

from include.evaluation import decide
from include.evaluation.blocks import Blocks
from include.evaluation.intervals import IntervalConfig, differences_of, measure_all
from include.records import Evaluation, Evidence
from include.spec import METRICS, NonInferiority

PAIRS, ROWS, DAYS, ALPHA, MARGIN = 1000, 1500, 30, 0.05, 0.01
WITHIN = 3 * sqrt(ALPHA * (1 - ALPHA) / PAIRS)  # three standard errors of the simulation itself
NORMAL = NormalDist()


@dataclass(frozen=True)
class Rates:
    gate: float
    naive: float


def binormal(random: np.random.Generator, auc: float, champion_auc: float = 0.75) -> tuple[np.ndarray, dict]:
    """Two scores with these true AUCs, correlated at 0.8: normal with unit spread, shifted for positive rows."""
    truth = (random.random(ROWS) < 0.3).astype(np.int64)
    shared = random.normal(size=ROWS)
    noise = [sqrt(0.8) * shared + sqrt(0.2) * random.normal(size=ROWS) for _ in range(2)]
    shifts = [sqrt(2) * NORMAL.inv_cdf(each) for each in (auc, champion_auc)]
    scores = [1 / (1 + np.exp(-(each + shift * truth))) for each, shift in zip(noise, shifts, strict=True)]
    return truth, {who: np.column_stack([1 - p, p]) for who, p in zip(("candidate", "champion"), scores, strict=True)}


def absolute(random: np.random.Generator, worse: float) -> tuple[np.ndarray, dict]:
    """Two predictions of a value with normal errors; the true mean absolute error differs by `worse`.

    The errors of a day have a part in common, so that rows of a day are no independent witnesses.
    """
    day = np.repeat(np.arange(DAYS), ROWS // DAYS)
    truth = random.normal(size=ROWS)
    common = random.normal(size=DAYS)[day]
    spread = {"champion": 0.5, "candidate": 0.5 + worse / sqrt(2 / np.pi)}
    errors = {
        who: each * (0.5 * common + 0.5 * random.normal(size=DAYS)[day] + sqrt(0.5) * random.normal(size=ROWS))
        for who, each in spread.items()
    }
    return truth, {who: (truth + error).reshape(-1, 1) for who, error in errors.items()}


def rates(
    draw: Callable[[np.random.Generator], tuple], task: str, metric: str, margin: float, seed: int, pairs: int = PAIRS
) -> Rates:
    """Evaluate and decide as the pipeline does, a thousand times; and compare the two figures as others do."""
    random, blocks = np.random.default_rng(seed), Blocks(np.repeat(np.arange(DAYS), ROWS // DAYS), DAYS, "")
    gate = NonInferiority(metric=metric, margin=margin, alpha=ALPHA)
    passed = naive = 0
    for pair in range(pairs):
        truth, scores = draw(random)
        config = IntervalConfig(n_resamples=400, seed=pair)
        both = measure_all(task, truth, scores, blocks, config, only=(metric,))
        evaluation = Evaluation(
            model="m",
            rows=ROWS,
            candidate=both["candidate"].values,
            champion=both["champion"].values,
            baseline={},
            champion_version=1,
            differences=differences_of(both["candidate"], both["champion"], blocks, config),
        )
        passed += decide(Evidence(evaluation=evaluation), [gate]).accepted
        gain = METRICS[metric].gain(evaluation.differences[metric].value)
        naive += gain >= -margin
    return Rates(passed / pairs, naive / pairs)


@pytest.mark.slow
def test_a_candidate_worse_by_exactly_the_margin_passes_at_the_declared_level_and_no_more_often() -> None:
    worse = rates(lambda random: binormal(random, 0.75 - MARGIN), "binary", "roc_auc", MARGIN, seed=1)
    equal = rates(lambda random: binormal(random, 0.75), "binary", "roc_auc", 0.0, seed=2)
    power = rates(lambda random: binormal(random, 0.75), "binary", "roc_auc", 0.03, seed=3, pairs=200)
    values = rates(lambda random: absolute(random, MARGIN), "regression", "mae", MARGIN, seed=4)
    print(
        f"\nshare let through, {PAIRS:,} pairs each, alpha {ALPHA:g} (Monte Carlo error {WITHIN / 3:.4f})\n"
        "                                                      gate   naive\n"
        f"ROC AUC, worse by exactly the margin of {MARGIN:g}:         {worse.gate:.3f}   {worse.naive:.3f}\n"
        f"ROC AUC, equally good, margin 0:                     {equal.gate:.3f}   {equal.naive:.3f}\n"
        f"ROC AUC, equally good, margin 0.03 (should pass):    {power.gate:.3f}   {power.naive:.3f}\n"
        f"MAE, days alike, worse by exactly the margin:        {values.gate:.3f}   {values.naive:.3f}"
    )
    for found in (worse, equal, values):
        assert abs(found.gate - ALPHA) <= WITHIN
        assert found.naive > 0.4
    assert power.gate > 0.8
