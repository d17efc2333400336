"""Any small pipeline answers as scikit-learn does on every row that its declaration lets in, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from include.spec import Columns
from include.spec.base import Task
from tests.sweep.configurations import CATEGORIES, CLASSIFIERS, IMPUTERS, REGRESSORS, SCALERS, configurations
from tests.sweep.datasets import MIXED, Nulls, problem
from tests.sweep.trial import run

ROWS = 200
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
NULLS: tuple[Nulls, ...] = ("none", "training", "later", "open")


@cache
def _estimators(task: Task) -> dict[str, Callable[[], Any]]:
    """Return makers of estimators: those of the compositions, and every estimator of scikit-learn alone."""
    usual = dict(REGRESSORS if task == "regression" else CLASSIFIERS)
    alone = {
        each.group: each.build
        for each in configurations().values()
        if each.task == task and each.composition == "bare" and each.group != "compositions"
    }
    return usual | {name: (lambda build=build: build(Columns(()), task)) for name, build in alone.items()}


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[Task, Nulls, str, Callable[[Columns], Any]]:
    """Draw a task, nulls, a description, and the builder of: imputers and scalers, categories, an estimator."""
    task = draw(st.sampled_from(TASKS))
    nulls = draw(st.sampled_from(NULLS))
    steps = draw(st.lists(st.sampled_from(sorted(SCALERS)), max_size=2))
    imputer = draw(st.sampled_from(["", *IMPUTERS]))
    categories = draw(st.sampled_from(sorted(CATEGORIES)))
    # Half of the estimators are those that people use.
    usual = sorted(REGRESSORS if task == "regression" else CLASSIFIERS)
    estimator = draw(st.sampled_from(usual) | st.sampled_from(sorted(_estimators(task))))
    behind = draw(st.booleans())

    def build(columns: Columns) -> Any:
        numbers = [*([IMPUTERS[imputer]()] if imputer else []), *(SCALERS[step](task) for step in steps)]
        model = _estimators(task)[estimator]()
        if not behind:  # everything in one row, categories as codes
            return make_pipeline(*numbers, model)
        encoder = make_column_transformer(
            (make_pipeline(*numbers) if numbers else "passthrough", [*columns.numeric, *columns.boolean]),
            (CATEGORIES[categories](), columns.categorical),
        )
        return make_pipeline(encoder, model)

    described = f"{imputer or '-'} {'+'.join(steps) or '-'} {categories if behind else 'codes'} {estimator}"
    return task, nulls, described, build


def check(drawn: tuple[Task, Nulls, str, Callable[[Columns], Any]]) -> None:
    task, nulls, described, build = drawn
    found = run(problem(MIXED[task], nulls, build), ROWS)
    if found.scikit_learn.startswith("does not fit"):
        return  # there is no answer to compare with
    assert found.result in ("exact", "refused", "rows_refused"), f"{described} ({nulls}): {found.message}"


@given(pipelines())
@settings(max_examples=6, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_pipeline_answers_as_scikit_learn_does_or_is_refused(
    drawn: tuple[Task, Nulls, str, Callable[[Columns], Any]],
) -> None:
    check(drawn)


@pytest.mark.slow
@given(pipelines())
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
def test_any_of_many_pipelines_answers_as_scikit_learn_does_or_is_refused(
    drawn: tuple[Task, Nulls, str, Callable[[Columns], Any]],
) -> None:
    check(drawn)
