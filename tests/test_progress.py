"""The steps report how far they are, and a log, such as that of Airflow's task, gets few lines of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sqlalchemy import Engine

from include import pipeline
from include.progress import LoggedProgress
from include.records import Period
from include.resources import Resources
from include.training import fit_progress
from tests.builders import DAYS, ROWS_A_DAY, declare_model, load_parcels, retrain


class RecordingProgress:
    """Keeps every report."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int, int | None]] = []

    def report(self, what: str, done: int, total: int | None = None) -> None:
        self.reports.append((what, done, total))

    def last(self, what: str) -> tuple[int, int | None]:
        return [(done, total) for each, done, total in self.reports if each == what][-1]


def test_a_retrain_and_a_score_report_rows_resamples_and_trees(
    resources: Resources, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_progress, "LOOK_EVERY_SECONDS", 0.0)
    load_parcels(engine)
    spec, told = declare_model(tmp_path / "models"), RecordingProgress()
    observed = replace(resources, progress=told)
    pipeline.promote_candidate(spec, retrain(spec, "run 1", observed), "ann", observed)
    published = pipeline.score(spec, "score 1", Period.of_day(date(2026, 2, 20)), observed)
    window = (spec.window.train + spec.window.holdout).days * ROWS_A_DAY
    assert window < DAYS * ROWS_A_DAY
    assert told.last("rows read") == (window, None)
    holdout = spec.window.holdout.days * ROWS_A_DAY
    assert told.last("rows scored (holdout, candidate)") == (holdout, holdout)
    done, total = told.last("resamples (candidate)")
    assert done == total
    assert total is not None
    assert total % spec.evaluation.n_resamples == 0
    assert told.last("rows scored") == (published.row_count, published.row_count)
    assert told.last("trees")[1] == 20


@pytest.mark.parametrize(
    ("estimator", "trees"),
    [
        (HistGradientBoostingRegressor(max_iter=30, early_stopping=False), 30),
        (make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=5)), 5),
        (RandomForestRegressor(n_estimators=3), None),
        (LinearRegression(), None),
    ],
)
def test_trees_are_counted_where_they_can_be_seen(estimator: BaseEstimator, trees: int | None) -> None:
    assert fit_progress.trees_so_far(estimator) is None, "before the fit there are none"
    x = [[float(n), float(n % 7)] for n in range(100)]
    estimator.fit(x, [each[0] * each[1] for each in x])
    assert fit_progress.trees_so_far(estimator) == (None if trees is None else (trees, trees))


def test_a_log_has_a_line_after_ten_seconds_and_then_each_time_that_it_took_twice_as_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds: Iterator[int] = iter(range(200))
    progress = LoggedProgress(lambda: next(seconds))
    with caplog.at_level(logging.INFO, logger="include.progress"):
        for row in range(100):
            progress.report("rows scored", row * 1000, 100_000)
        for row in range(100):
            progress.report("rows scored", row * 1000)
    assert [record.getMessage() for record in caplog.records] == [
        "10,000 of 100,000 rows scored after 10 s",
        "20,000 of 100,000 rows scored after 20 s",
        "40,000 of 100,000 rows scored after 40 s",
        "80,000 of 100,000 rows scored after 80 s",
        "10,000 rows scored after 10 s",
        "20,000 rows scored after 20 s",
        "40,000 rows scored after 40 s",
        "80,000 rows scored after 80 s",
    ]
