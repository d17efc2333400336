"""DeLong's variance, fast, against its definition: every pair of a positive and a negative row compared, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from include.evaluation.delong import delong_covariance, error_by_block, influences, placements


def by_definition(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """DeLong et al. (1988), written down as it stands there, in O(m n) comparisons and plain loops.

    The AUCs, and their covariance's two terms: of the positive rows, S10 / m, and of the others, S01 / n.
    """

    def kernel(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    models, m, n = len(scores), int(positive.sum()), int((~positive).sum())
    v10, v01 = np.zeros((models, m)), np.zeros((models, n))
    for r in range(models):
        xs, ys = scores[r][positive], scores[r][~positive]
        for i, x in enumerate(xs):
            v10[r, i] = sum(kernel(x, y) for y in ys) / n
        for j, y in enumerate(ys):
            v01[r, j] = sum(kernel(x, y) for x in xs) / m
    aucs = v10.mean(axis=1)
    s10, s01 = np.zeros((models, models)), np.zeros((models, models))
    for r in range(models):
        for s in range(models):
            s10[r, s] = sum((v10[r, i] - aucs[r]) * (v10[s, i] - aucs[s]) for i in range(m)) / (m - 1)
            s01[r, s] = sum((v01[r, j] - aucs[r]) * (v01[s, j] - aucs[s]) for j in range(n)) / (n - 1)
    return aucs, s10 / m, s01 / n


def rows(seed: int, count: int, decimals: int | None) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    positive[:4] = (True, True, False, False)
    shared = random.normal(size=count) + positive
    scores = np.stack([shared + random.normal(size=count) for _ in range(3)])
    return positive, scores if decimals is None else np.round(scores, decimals)


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "some ties", "nearly all tied"])
def test_aucs_and_their_covariance_are_those_of_the_definition_to_ten_digits(decimals: int | None) -> None:
    positive, scores = rows(1, 120, decimals)
    aucs, covariance = delong_covariance(positive, scores)
    wanted_aucs, *wanted = by_definition(positive, scores)
    np.testing.assert_allclose(aucs, wanted_aucs, rtol=1e-10)
    np.testing.assert_allclose(covariance, sum(wanted), rtol=1e-10, atol=1e-14)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(5, 30), decimals=st.sampled_from([None, 1, 0]))
def test_the_same_for_any_rows(seed: int, count: int, decimals: int | None) -> None:
    positive, scores = rows(seed, count, decimals)
    found, (aucs, *terms) = delong_covariance(positive, scores), by_definition(positive, scores)
    np.testing.assert_allclose(found[0], aucs, rtol=1e-9)
    np.testing.assert_allclose(found[1], sum(terms), rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "some ties", "nearly all tied"])
def test_what_the_gates_weigh_is_the_definition_to_ten_digits_alone_and_paired(decimals: int | None) -> None:
    positive, scores = rows(6, 150, decimals)
    _, of_positive, of_others = by_definition(positive, scores)
    total, m = len(positive), int(positive.sum())
    # Influences divide by the rows where the definition divides by one less, in each class and in all.
    weights = total / (total - 1) * np.array([(m - 1) / m, (total - m - 1) / (total - m)])
    moved = [influences(positive.astype(np.int64), np.column_stack([-each, each]))[1] for each in scores]

    def wanted(contrast: np.ndarray) -> float:
        return float(np.sqrt(weights @ [contrast @ of_positive @ contrast, contrast @ of_others @ contrast]))

    for contrast in np.array([[1, 0, 0], [0, 1, 0], [1, -1, 0], [0, 1, -1], [-1, 0, 1]]):
        found = error_by_block(contrast @ moved, np.arange(total))
        assert found == pytest.approx(wanted(contrast), rel=1e-10)


def test_the_auc_is_scikit_learns() -> None:
    positive, scores = rows(2, 500, 1)
    assert placements(positive, scores[0])[0] == pytest.approx(roc_auc_score(positive, scores[0]), abs=1e-12)


def test_with_a_block_for_each_row_the_error_by_block_is_delongs() -> None:
    positive, scores = rows(3, 4000, None)
    moved = influences(positive.astype(np.int64), np.column_stack([-scores[0], scores[0]]))[1]
    assert moved.sum() == pytest.approx(0, abs=1e-12)
    plain = np.sqrt(delong_covariance(positive, scores[:1])[1][0, 0])
    assert error_by_block(moved, np.arange(len(positive))) == pytest.approx(plain, rel=1e-3)


def test_of_several_classes_it_is_the_mean_over_each_against_the_rest() -> None:
    random = np.random.default_rng(4)
    truth = random.integers(0, 3, 400)
    scores = random.dirichlet((1, 1, 1), 400) + np.eye(3)[truth] * 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    auc, moved = influences(truth, scores)
    assert auc == pytest.approx(roc_auc_score(truth, scores, multi_class="ovr"), abs=1e-12)
    # What a row moves: leave it out, and the AUC changes by that much, up to terms of second order.
    without = np.array([influences(np.delete(truth, i), np.delete(scores, i, axis=0))[0] for i in range(30)])
    np.testing.assert_allclose(auc - without, moved[:30], atol=2e-4)


def test_rows_that_resemble_each_other_within_a_day_make_the_error_larger_as_it_truly_is() -> None:
    random, aucs, errors = np.random.default_rng(5), [], []
    day = np.repeat(np.arange(40), 25)
    for _ in range(300):
        mood = random.normal(size=40)[day]  # of a whole day: it moves label and score alike
        truth = (mood + random.normal(size=1000) > 0).astype(np.int64)
        score = mood * 0.8 + truth * 0.3 + random.normal(size=1000)
        auc, moved = influences(truth, np.column_stack([-score, score]))
        aucs.append(auc)
        errors.append((error_by_block(moved, day), error_by_block(moved, np.arange(1000))))
    spread, (by_day, by_row) = np.std(aucs), np.mean(errors, axis=0)
    assert by_day == pytest.approx(spread, rel=0.2)
    assert by_row < 0.75 * spread  # the usual formula is too sure of itself
