"""A fixed part of `make sweep`: what is accepted answers as scikit-learn does; what is refused names the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

from include.spec import Columns
from tests.sweep.configurations import configurations
from tests.sweep.datasets import problem
from tests.sweep.trial import Outcome, run

ROWS = 200  # of each kind; `make sweep` has 2,000
KNOWN = configurations()

# What people write most; all of it must be served.
SERVED = (
    "DecisionTreeClassifier/bare/wine/later",
    "RandomForestClassifier/bare/cancer/none",
    "RandomForestClassifier/bare/cancer/training",
    "RandomForestClassifier/bare/cancer/later",
    "RandomForestClassifier/encoded/arrivals/later",
    "RandomForestRegressor/bare/diabetes/later",
    "RandomForestRegressor/scaled/diabetes/none",
    "ExtraTreesClassifier/bare/wine/training",
    "ExtraTreesRegressor/bare/diabetes/later",
    "GradientBoostingClassifier/scaled/cancer/none",
    "GradientBoostingRegressor/scaled/diabetes/none",
    "HistGradientBoostingClassifier/bare/cancer/later",
    "HistGradientBoostingClassifier/scaled/wine/none",
    "HistGradientBoostingClassifier/bare/cancer/open",
    "HistGradientBoostingRegressor/bare/diabetes/training",
    "HistGradientBoostingRegressor/encoded/minutes/none",
    "LogisticRegression/scaled/cancer/none",
    "LogisticRegression/encoded/arrivals/later",
    "Ridge/scaled/diabetes/none",
    "Lasso/encoded/minutes/none",
    "compositions/standard+forest/wine/none",
    "compositions/minmax+hgb/cancer/training",
    "compositions/robust+tree/cancer/none",
    "compositions/maxabs+forest/diabetes/none",
    "compositions/kbins_onehot+linear/cancer/none",
    "compositions/pca+linear/wine/none",
    "compositions/select+forest/cancer/none",
    "compositions/impute_median+forest/cancer/later",
    "compositions/impute_median+linear/diabetes/training",
    "compositions/grid_search/cancer/none",
    "compositions/randomized_search/diabetes/none",
    "compositions/halving_search/cancer/none",
    "compositions/voting/cancer/none",
    "compositions/voting_weights/wine/none",
    "compositions/stacking/diabetes/none",
    "compositions/passthrough_step/wine/none",
    "compositions/columns_passthrough/cancer/none",
    "compositions/forest_of_10/cancer/none",
    "compositions/forest_of_70/cancer/later",
    "compositions/forest_of_25/wine/none",
    "compositions/calibrated_sigmoid+hgb/cancer/none",
    "compositions/calibrated_isotonic+forest/cancer/none",
    "compositions/calibrated_sigmoid+pipeline_with_linear_svc/cancer/none",
    "compositions/tuned_threshold+forest/cancer/none",
    "compositions/fixed_threshold+linear/cancer/none",
    "compositions/codes+extra_trees/flights/training",  # impure leaves of two classes: ties
    "VotingClassifier/encoded/flights/none",  # a probability beside 1, averaged to a tie
    "KNeighborsClassifier/bare/wine/none",
    "compositions/lda_as_step/cancer/none",
    "compositions/target_log1p/diabetes/none",
    "compositions/target_log_of_hgb/diabetes/none",
    "compositions/hgb_poisson/diabetes/none",
    "compositions/onehot+forest/flights/later",
    "compositions/onehot_min_frequency+linear/flights/none",
    "compositions/onehot_max_categories+linear/arrivals/none",
    "compositions/ordinal+hgb/flights/later",
    "compositions/codes+forest/arrivals/training",
    "compositions/columns_by_name/flights/none",
    "compositions/columns_by_selector/minutes/none",
    "compositions/columns_by_callable/flights/none",
)

# What is refused today, or may be: then with the step, and without a wrong answer before.
SERVED_OR_REFUSED = (
    "GaussianNB/bare/wine/none",
    "QuadraticDiscriminantAnalysis/scaled/cancer/none",
    "KNeighborsClassifier/scaled/cancer/none",
    "MLPClassifier/scaled/wine/none",
    "SVC/scaled/cancer/none",
    "PLSRegression/scaled/diabetes/none",
    "RadiusNeighborsRegressor/scaled/diabetes/none",
    "GaussianProcessRegressor/scaled/diabetes/none",
    "LogisticRegression/bare/cancer/later",
    "AdaBoostClassifier/bare/cancer/later",
    "BernoulliNB/bare/wine/training",
    "MultiTaskLasso/bare/diabetes/none",
    "compositions/quantile+forest/cancer/none",
    "compositions/spline+linear/diabetes/none",
    "compositions/impute_indicator+forest/cancer/training",
    "compositions/impute_knn+linear/cancer/training",
    "compositions/onehot_error+linear/flights/none",
    "compositions/ordinal_min_frequency+hgb/flights/none",
    "compositions/hgb_categorical_features/flights/none",
    "compositions/svc_probability/cancer/none",
)

# What `make test` runs: each kind of tree, linear model, step, composition and nulls once. `make test-all` runs all.
QUICK = frozenset(
    {
        "DecisionTreeClassifier/bare/wine/later",
        "RandomForestClassifier/encoded/arrivals/later",
        "ExtraTreesRegressor/bare/diabetes/later",
        "GradientBoostingRegressor/scaled/diabetes/none",
        "HistGradientBoostingClassifier/bare/cancer/open",
        "HistGradientBoostingRegressor/encoded/minutes/none",
        "LogisticRegression/scaled/cancer/none",
        "Lasso/encoded/minutes/none",
        "compositions/minmax+hgb/cancer/training",
        "compositions/pca+linear/wine/none",
        "compositions/impute_median+linear/diabetes/training",
        "compositions/grid_search/cancer/none",
        "compositions/voting_weights/wine/none",
        "compositions/calibrated_sigmoid+hgb/cancer/none",
        "compositions/target_log1p/diabetes/none",
        "compositions/ordinal+hgb/flights/later",
        "compositions/onehot_max_categories+linear/arrivals/none",
        "compositions/columns_by_selector/minutes/none",
        "GaussianNB/bare/wine/none",
        "SVC/scaled/cancer/none",
        "LogisticRegression/bare/cancer/later",
        "compositions/spline+linear/diabetes/none",
        "compositions/onehot_error+linear/flights/none",
    }
)


def configured(names: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


def outcome(name: str) -> Outcome:
    return run(KNOWN[name].problem(), ROWS)


@pytest.mark.parametrize("name", configured(SERVED))
def test_it_answers_as_scikit_learn_does(name: str) -> None:
    found = outcome(name)
    assert (found.result, found.message) == ("exact", "")


@pytest.mark.parametrize("name", configured(SERVED_OR_REFUSED))
def test_it_answers_as_scikit_learn_does_or_is_refused_by_name(name: str) -> None:
    found = outcome(name)
    assert found.result in ("exact", "refused"), found.message


def polynomial_perceptron(*first: Any) -> Any:
    return make_pipeline(*first, PolynomialFeatures(include_bias=False), MLPClassifier(max_iter=300, random_state=0))


def test_what_last_bits_decide_is_refused_and_the_way_out_that_the_error_names_is_exact() -> None:
    """In single precision, with products of large numbers, scikit-learn itself answers 0.46 in a batch, 0.59 alone."""
    refused = run(problem("flights", "none", lambda _: polynomial_perceptron()), ROWS)
    assert refused.result == "refused"
    assert "on both sides of a change of the label" in refused.message
    assert "put FunctionTransformer(np.float64) before it" in refused.message
    in_double = FunctionTransformer(np.float64)
    assert run(problem("flights", "none", lambda _: polynomial_perceptron(in_double)), ROWS).result == "exact"


def test_isotonic_steps_that_last_bits_decide_are_refused_and_those_in_double_are_exact() -> None:
    refused = outcome("compositions/calibrated_isotonic+naive_bayes/wine/none")
    assert refused.result == "refused"
    assert "the last bits of its input, which are not reproducible" in refused.message

    def in_double(_: Columns) -> Any:
        return CalibratedClassifierCV(make_pipeline(FunctionTransformer(np.float64), GaussianNB()), method="isotonic")

    assert run(problem("wine", "none", in_double), ROWS).result == "exact"


def test_every_configuration_has_a_name_of_its_own_and_can_be_declared() -> None:
    assert len(KNOWN) > 3000
    for name in list(KNOWN)[::97]:
        problem = KNOWN[name].problem()
        assert len(problem.data.x_train) > 300
        assert problem.data.x_holdout.shape[1] == len(problem.spec.features)
