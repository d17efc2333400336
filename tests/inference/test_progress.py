"""A slow scoring says how far it is, and gives the same scores."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from include.inference import ModelSignature, Scorer, progress, score_with_progress

Sign = Callable[..., ModelSignature]


@pytest.mark.parametrize("rows", [0, 1, 7, 150])
def test_parts_have_the_scores_of_the_whole(
    forest: bytes, iris: np.ndarray, iris_signature: Sign, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(progress, "ROWS", 7)
    scorer = Scorer(forest, iris_signature())
    found = score_with_progress(scorer, iris[:rows], "holdout")
    np.testing.assert_array_equal(found, scorer.score(iris[:rows]))


def test_a_regression_has_one_column(regression: Scorer) -> None:
    assert score_with_progress(regression, np.zeros((3, 10), dtype=np.float32), "holdout").shape == (3, 1)


def test_a_slow_one_says_how_far_it_is(
    forest: bytes,
    iris: np.ndarray,
    iris_signature: Sign,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress, "ROWS", 50)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_MESSAGES", 0.0)
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        score_with_progress(Scorer(forest, iris_signature()), iris, "holdout, candidate")
    told = [record.getMessage() for record in caplog.records]
    assert [message.rpartition(" rows")[0] for message in told] == [
        "iris: holdout, candidate: 50 of 150",
        "iris: holdout, candidate: 100 of 150",
    ]
