"""A slow scoring says how far it is, and gives the same scores."""

from __future__ import annotations

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


def test_it_reports_after_each_part(
    forest: bytes, iris: np.ndarray, iris_signature: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "ROWS", 60)
    told = []

    class Listener:
        def report(self, *report: object) -> None:
            told.append(report)

    score_with_progress(Scorer(forest, iris_signature()), iris, "holdout, candidate", Listener())
    assert told == [("rows scored (holdout, candidate)", done, 150) for done in (60, 120, 150)]
