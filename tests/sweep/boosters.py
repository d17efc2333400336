"""XGBoost, LightGBM and CatBoost, if they are installed: alone, in pipelines, and with the options that people use."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from include.spec import Columns
from include.spec.base import Task

Build = Callable[[Columns, Task], Any]

# By library: the classes, the number of trees and what keeps it quiet, and on one thread.
LIBRARIES: dict[str, tuple[str, dict[str, Any]]] = {
    "xgboost": ("XGB", {"n_estimators": 30, "max_depth": 4, "n_jobs": 1}),
    "lightgbm": ("LGBM", {"n_estimators": 30, "num_leaves": 15, "n_jobs": 1, "verbose": -1}),
    "catboost": ("CatBoost", {"iterations": 30, "thread_count": 1, "verbose": 0, "allow_writing_files": False}),
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "xgboost": {
        "exact": {"tree_method": "exact"},
        "dart": {"booster": "dart"},
        "linear": {"booster": "gblinear", "max_depth": None},
        "base_score": {"base_score": 0.3},
        "subsample": {"subsample": 0.7, "colsample_bytree": 0.7},
        "deep": {"max_depth": 10, "learning_rate": 0.5},
        "lossguide": {"grow_policy": "lossguide", "max_leaves": 12, "max_depth": 0},
        "forest_in_a_round": {"num_parallel_tree": 3, "subsample": 0.7},
    },
    "lightgbm": {
        "dart": {"boosting_type": "dart"},
        "random_forest": {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
        "goss": {"data_sample_strategy": "goss"},
        "extra_trees": {"extra_trees": True},
        "linear_tree": {"linear_tree": True},
        "zero_as_missing": {"zero_as_missing": True},
        "no_missing": {"use_missing": False},
        "deep": {"num_leaves": 63, "min_child_samples": 3},
    },
    "catboost": {
        "depthwise": {"grow_policy": "Depthwise"},
        "lossguide": {"grow_policy": "Lossguide"},
        "null_is_largest": {"nan_mode": "Max"},
        "deep": {"depth": 9},
    },
}
CLASSIFIER_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "xgboost": {"weight": {"scale_pos_weight": 3.0}},
    "lightgbm": {"weight": {"class_weight": "balanced"}, "ova": {"objective": "multiclassova"}},
    "catboost": {"weight": {"auto_class_weights": "Balanced"}},
}
REGRESSOR_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "xgboost": {
        "poisson": {"objective": "count:poisson"},
        "gamma": {"objective": "reg:gamma"},
        "tweedie": {"objective": "reg:tweedie"},
        "absolute_error": {"objective": "reg:absoluteerror"},
        "quantile": {"objective": "reg:quantileerror", "quantile_alpha": 0.8},
        "huber": {"objective": "reg:pseudohubererror", "huber_slope": 20.0},
    },
    "lightgbm": {
        each: {"objective": each}
        for each in ("regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie")
    },
    "catboost": {
        "absolute_error": {"loss_function": "MAE"},
        "poisson": {"loss_function": "Poisson"},
        "tweedie": {"loss_function": "Tweedie:variance_power=1.5"},
        "quantile": {"loss_function": "Quantile:alpha=0.8"},
    },
}


def installed() -> list[str]:
    """Return which of the libraries are there."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name)]


def make(library: str, task: Task, **options: Any) -> Any:
    """Return a small classifier or regressor of `library`."""
    prefix, usual = LIBRARIES[library]
    cls = getattr(importlib.import_module(library), prefix + ("Regressor" if task == "regression" else "Classifier"))
    return cls(**(usual | options))


def on_numbers(library: str, task: Task) -> dict[str, Build]:
    """Return the configurations on numbers, by name."""
    special = REGRESSOR_OPTIONS if task == "regression" else CLASSIFIER_OPTIONS
    found: dict[str, Build] = {"alone": lambda _columns, task: make(library, task)}
    for name, options in (OPTIONS[library] | special[library]).items():
        binary_only = name == "weight" and library == "xgboost"
        if not (binary_only and task == "multiclass") and not (name == "ova" and task == "binary"):
            found[name] = partial(_with, library, options)
    if task != "multiclass":
        found["monotone"] = partial(_monotone, library)
    found |= {
        "scaled": lambda _columns, task: make_pipeline(StandardScaler(), make(library, task)),
        "searched": lambda _columns, task: GridSearchCV(make(library, task), {"learning_rate": [0.1, 0.3]}, cv=3),
    }
    return found | (_regressions(library) if task == "regression" else _classifications(library))


def _with(library: str, options: dict[str, Any], _columns: Columns, task: Task) -> Any:
    return make(library, task, **options)


def _monotone(library: str, columns: Columns, task: Task) -> Any:
    directions = (1, *[0] * (len(columns.names) - 1))
    return make(library, task, monotone_constraints=list(directions) if library == "catboost" else directions)


def _classifications(library: str) -> dict[str, Build]:
    return {
        "calibrated": lambda _c, t: CalibratedClassifierCV(make(library, t), cv=3),
        "calibrated_isotonic": lambda _c, t: CalibratedClassifierCV(make(library, t), cv=3, method="isotonic"),
        "voting": lambda _c, t: VotingClassifier(
            [("a", make(library, t)), ("b", make_pipeline(StandardScaler(), LogisticRegression()))], voting="soft"
        ),
        "stacking": lambda _c, t: StackingClassifier([("a", make(library, t))], cv=3),
    }


def _regressions(library: str) -> dict[str, Build]:
    return {
        "target_log": lambda _c, t: TransformedTargetRegressor(make(library, t), func=np.log, inverse_func=np.exp),
        "voting": lambda _c, t: VotingRegressor([("a", make(library, t)), ("b", Ridge())]),
        "stacking": lambda _c, t: StackingRegressor([("a", make(library, t))], cv=3),
    }


def on_categories(library: str) -> dict[str, Build]:
    """Return the configurations on numbers and categories, by name."""
    from tests.sweep.configurations import encoder

    found: dict[str, Build] = {
        "codes": lambda _columns, task: make(library, task),
        "encoded": lambda c, t: make_pipeline(
            encoder(c, OneHotEncoder(handle_unknown="ignore", sparse_output=False)), make(library, t)
        ),
        "ordinal": lambda c, t: make_pipeline(
            encoder(c, OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), make(library, t)
        ),
    }
    native: dict[str, Build] = {
        "xgboost": lambda c, t: make(
            library,
            t,
            enable_categorical=True,
            feature_types=["c" if i in c.categorical else "q" for i in range(len(c.names))],
        ),
        "lightgbm": lambda c, t: make(library, t, categorical_feature=c.categorical),
        "catboost": lambda c, t: make(library, t, cat_features=c.categorical),
    }
    return found | {"native_categories": native[library]}
