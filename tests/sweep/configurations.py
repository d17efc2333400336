"""The configurations of the sweep: every estimator of scikit-learn in three pipelines, and usual compositions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # makes the import below possible
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold, f_classif, f_regression
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from include.spec import Columns
from include.spec.base import Task
from tests.sweep import boosters
from tests.sweep.datasets import MIXED, NUMBERS, Nulls, Problem, problem

Build = Callable[[Columns, Task], Any]
CLASSES: tuple[Task, ...] = ("binary", "multiclass")
TASKS: tuple[Task, ...] = (*CLASSES, "regression")
EVERY: tuple[Nulls, ...] = ("none", "training", "later", "open")


@dataclass(frozen=True, slots=True)
class Configuration:
    """An estimator, in a composition, on a data set, with nulls as declared.

    Attributes
    ----------
    group : str
        The estimator's class, "compositions", or the library.
    """

    group: str
    composition: str
    data: str
    nulls: Nulls
    task: Task
    build: Build

    @property
    def name(self) -> str:
        """The configuration's name, which is unique."""
        return "/".join((self.group, self.composition, self.data, self.nulls))

    def problem(self) -> Problem:
        """Return the declaration and its training data."""
        return problem(self.data, self.nulls, lambda columns: self.build(columns, self.task))


def configurations() -> dict[str, Configuration]:
    """Return every configuration by its name, in a fixed order."""
    return {each.name: each for each in (*_estimators(), *_compositions(), *_boosters())}


# Every classifier and every regressor


def _estimators() -> Iterator[Configuration]:
    for kind, tasks in (("classifier", CLASSES), ("regressor", TASKS[2:])):
        for name in _estimator_classes(kind):
            for task in tasks:
                make = partial(_make, kind, name)
                for nulls in EVERY:
                    yield Configuration(name, "bare", NUMBERS[task], nulls, task, _bare(make))
                    yield Configuration(name, "scaled", NUMBERS[task], nulls, task, _scaled(make))
                    yield Configuration(name, "encoded", MIXED[task], nulls, task, _encoded(make))


@cache
def _estimator_classes(kind: str) -> dict[str, type[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that scikit-learn is about to remove
        return dict(all_estimators(kind))


def _make(kind: str, name: str) -> Any:
    """Return the estimator with its defaults, but for what it cannot do without."""
    cls = _estimator_classes(kind)[name]
    inner: Any = LogisticRegression(max_iter=300) if kind == "classifier" else Ridge()
    other: Any = DecisionTreeClassifier(max_depth=4) if kind == "classifier" else DecisionTreeRegressor(max_depth=4)
    needed = {"estimators": [("linear", inner), ("tree", other)], "base_estimator": inner, "estimator": inner}
    required = set(getattr(cls, "_required_parameters", ())) or _required(cls)
    given = {each: needed[each] for each in required if each in needed}
    usual: dict[str, dict[str, Any]] = {
        "LogisticRegression": {"max_iter": 300},
        "MLPClassifier": {"max_iter": 300},
        "MLPRegressor": {"max_iter": 300},
        "VotingClassifier": {"voting": "soft"},
        "SelfTrainingClassifier": {"estimator": inner},
        "CCA": {"n_components": 1},  # the default, 2, needs two targets
        "PLSCanonical": {"n_components": 1},
    }
    return cls(**given).set_params(**usual.get(name, {}))


def _required(cls: type[Any]) -> set[str]:
    import inspect

    parameters = inspect.signature(cls).parameters.values()
    return {each.name for each in parameters if each.default is each.empty and each.kind == each.POSITIONAL_OR_KEYWORD}


def _bare(make: Callable[[], Any]) -> Build:
    return lambda _columns, _task: make()


def _scaled(make: Callable[[], Any]) -> Build:
    return lambda _columns, _task: make_pipeline(StandardScaler(), make())


def _encoded(make: Callable[[], Any]) -> Build:
    def build(columns: Columns, _task: Task) -> Any:
        return make_pipeline(encoder(columns, OneHotEncoder(handle_unknown="ignore", sparse_output=False)), make())

    return build


def encoder(columns: Columns, categories: Any, scaler: Any = None) -> ColumnTransformer:
    """Imputed numbers, imputed booleans, encoded categories: what most pipelines begin with."""
    numbers = SimpleImputer(strategy="median")
    return make_column_transformer(
        (make_pipeline(numbers, scaler) if scaler else numbers, columns.numeric),
        (SimpleImputer(strategy="most_frequent"), columns.boolean),
        (categories, columns.categorical),
    )


# Compositions

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "tree": lambda: DecisionTreeClassifier(max_depth=8),
    "forest": lambda: RandomForestClassifier(30),
    "extra_trees": lambda: ExtraTreesClassifier(30),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=30),
    "hgb": lambda: HistGradientBoostingClassifier(max_iter=30),
    "linear": lambda: LogisticRegression(max_iter=300),
    "bagging": lambda: BaggingClassifier(n_estimators=7),
}
REGRESSORS: dict[str, Callable[[], Any]] = {
    "tree": lambda: DecisionTreeRegressor(max_depth=8),
    "forest": lambda: RandomForestRegressor(30),
    "extra_trees": lambda: ExtraTreesRegressor(30),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=30),
    "hgb": lambda: HistGradientBoostingRegressor(max_iter=30),
    "linear": lambda: Ridge(),
    "bagging": lambda: BaggingRegressor(n_estimators=7),
}


def _model(kind: str, task: Task) -> Any:
    return (REGRESSORS if task == "regression" else CLASSIFIERS)[kind]()


SCALERS: dict[str, Callable[[Task], Any]] = {
    "standard": lambda _task: StandardScaler(),
    "standard_without_mean": lambda _task: StandardScaler(with_mean=False),
    "minmax": lambda _task: MinMaxScaler(),
    "minmax_clip": lambda _task: MinMaxScaler(clip=True),
    "maxabs": lambda _task: MaxAbsScaler(),
    "robust": lambda _task: RobustScaler(),
    "power": lambda _task: PowerTransformer(),
    "quantile": lambda _task: QuantileTransformer(n_quantiles=100),
    "quantile_normal": lambda _task: QuantileTransformer(n_quantiles=100, output_distribution="normal"),
    "normalizer": lambda _task: Normalizer(),
    "binarizer": lambda _task: Binarizer(threshold=0.5),
    "kbins_onehot": lambda _task: KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf"),
    "kbins_ordinal": lambda _task: KBinsDiscretizer(
        5, encode="ordinal", strategy="uniform", quantile_method="averaged_inverted_cdf"
    ),
    "polynomial": lambda _task: PolynomialFeatures(2),
    "spline": lambda _task: SplineTransformer(n_knots=4),
    "log1p": lambda _task: FunctionTransformer(np.log1p, feature_names_out="one-to-one"),
    "identity": lambda _task: FunctionTransformer(),
    "pca": lambda _task: make_pipeline(StandardScaler(), PCA(4)),
    "svd": lambda _task: TruncatedSVD(4),
    "select": lambda task: SelectKBest(f_regression if task == "regression" else f_classif, k=4),
    "select_from_model": lambda task: SelectFromModel(_model("forest", task)),
    "variance": lambda _task: VarianceThreshold(),
}
IMPUTERS: dict[str, Callable[[], Any]] = {
    "mean": lambda: SimpleImputer(),
    "median": lambda: SimpleImputer(strategy="median"),
    "most_frequent": lambda: SimpleImputer(strategy="most_frequent"),
    "constant": lambda: SimpleImputer(strategy="constant", fill_value=-1),
    "indicator": lambda: SimpleImputer(add_indicator=True),
    "knn": lambda: KNNImputer(),
}
CATEGORIES: dict[str, Callable[[], Any]] = {
    "onehot": lambda: OneHotEncoder(handle_unknown="ignore"),
    "onehot_error": lambda: OneHotEncoder(),
    "onehot_min_frequency": lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=40),
    "onehot_max_categories": lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4),
    "onehot_ignore_min_frequency": lambda: OneHotEncoder(handle_unknown="ignore", min_frequency=40),
    "onehot_drop_first": lambda: OneHotEncoder(handle_unknown="ignore", drop="first"),
    "onehot_drop_if_binary": lambda: OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
    "onehot_dense": lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "ordinal": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "ordinal_min_frequency": lambda: OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=40
    ),
    "ordinal_error": lambda: OrdinalEncoder(),
    "target": lambda: TargetEncoder(),
    "passthrough": lambda: "passthrough",
    "imputed_onehot": lambda: make_pipeline(
        SimpleImputer(missing_values=-1, strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
}


def _compositions() -> Iterator[Configuration]:
    for task in TASKS:
        for name, build in _on_numbers(task).items():
            # Beyond the range: the estimators alone show that, and the commonest scaler.
            for nulls in EVERY if name.startswith("standard+") else EVERY[:3]:
                yield Configuration("compositions", name, NUMBERS[task], nulls, task, build)
        for name, build in _on_categories(task).items():
            for nulls in EVERY[:3]:
                yield Configuration("compositions", name, MIXED[task], nulls, task, build)


def _boosters() -> Iterator[Configuration]:
    for library in boosters.installed():
        for task in TASKS:
            for name, build in boosters.on_numbers(library, task).items():
                for nulls in EVERY if name in ("alone", "scaled") else EVERY[:3]:
                    yield Configuration(library, name, NUMBERS[task], nulls, task, build)
            for name, build in boosters.on_categories(library).items():
                for nulls in EVERY[:3]:
                    yield Configuration(library, name, MIXED[task], nulls, task, build)


def _on_numbers(task: Task) -> dict[str, Build]:
    found: dict[str, Build] = {}
    for scaler, make_scaler in SCALERS.items():
        for kind in ("tree", "forest", "hgb", "linear"):
            found[f"{scaler}+{kind}"] = _scaler_before(make_scaler, kind)
    for scaler in ("standard", "minmax"):
        for kind in ("extra_trees", "boosting", "bagging"):
            found[f"{scaler}+{kind}"] = _scaler_before(SCALERS[scaler], kind)
    for imputer, make_imputer in IMPUTERS.items():
        for kind in ("forest", "linear"):
            found[f"impute_{imputer}+{kind}"] = _imputer_before(make_imputer, kind)
    found |= _searches(task)
    found |= _regressions() if task == "regression" else _classifications(task)
    return found | _ensembles(task)


def _scaler_before(scaler: Callable[[Task], Any], kind: str) -> Build:
    return lambda _columns, task: make_pipeline(scaler(task), _model(kind, task))


def _imputer_before(imputer: Callable[[], Any], kind: str) -> Build:
    return lambda _columns, task: make_pipeline(imputer(), StandardScaler(), _model(kind, task))


def _searches(task: Task) -> dict[str, Build]:
    grid = {"alpha": [0.1, 1.0, 10.0]} if task == "regression" else {"C": [0.1, 1.0, 10.0]}
    nested = {f"{'ridge' if task == 'regression' else 'logisticregression'}__{key}": v for key, v in grid.items()}
    return {
        "grid_search": lambda _columns, task: GridSearchCV(_model("linear", task), grid, cv=3),
        "grid_search_of_pipeline": lambda _columns, task: GridSearchCV(
            make_pipeline(StandardScaler(), _model("linear", task)), nested, cv=3
        ),
        "randomized_search": lambda _columns, task: RandomizedSearchCV(_model("linear", task), grid, n_iter=2, cv=3),
        "halving_search": lambda _columns, task: HalvingGridSearchCV(_model("linear", task), grid, cv=3),
        "pipeline_of_search": lambda _columns, task: make_pipeline(
            StandardScaler(), GridSearchCV(_model("tree", task), {"max_depth": [2, 5]}, cv=3)
        ),
    }


def _ensembles(task: Task) -> dict[str, Build]:
    voting, stacking = (
        (VotingRegressor, StackingRegressor)
        if task == "regression"
        else (partial(VotingClassifier, voting="soft"), StackingClassifier)
    )
    bagging = BaggingRegressor if task == "regression" else BaggingClassifier
    adaboost = AdaBoostRegressor if task == "regression" else AdaBoostClassifier
    neighbours = KNeighborsRegressor if task == "regression" else KNeighborsClassifier

    def parts(task: Task) -> list[tuple[str, Any]]:
        scaled = make_pipeline(StandardScaler(), _model("linear", task))
        return [("scaled", scaled), ("forest", _model("forest", task)), ("hgb", _model("hgb", task))]

    found: dict[str, Build] = {
        "voting": lambda _columns, task: voting(parts(task)),
        "voting_weights": lambda _columns, task: voting(parts(task), weights=[2, 1, 0.5]),
        "stacking": lambda _columns, task: stacking(parts(task)),
        "stacking_passthrough": lambda _columns, task: stacking(parts(task)[:2], passthrough=True, cv=3),
        "union": lambda _columns, task: make_pipeline(make_union(StandardScaler(), PCA(2)), _model("linear", task)),
        "union_weights": lambda _columns, task: make_pipeline(
            FeatureUnion([("a", MinMaxScaler()), ("b", SelectKBest(_score(task), k=2))], transformer_weights={"a": 2}),
            _model("linear", task),
        ),
        "passthrough_step": lambda _columns, task: Pipeline([("no", "passthrough"), ("model", _model("hgb", task))]),
        "nested_pipeline": lambda _columns, task: make_pipeline(
            make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler())), _model("forest", task)
        ),
        "columns_drop": lambda columns, task: make_pipeline(
            make_column_transformer((StandardScaler(), columns.numeric[:3]), remainder="drop"), _model("forest", task)
        ),
        "columns_passthrough": lambda columns, task: make_pipeline(
            make_column_transformer((StandardScaler(), columns.numeric[:3]), remainder="passthrough"),
            _model("forest", task),
        ),
        "bagging_of_pipelines": lambda _columns, task: bagging(
            make_pipeline(StandardScaler(), _model("linear", task)), n_estimators=5
        ),
        "bagging_of_some_features": lambda _columns, task: bagging(
            _model("tree", task), n_estimators=5, max_features=0.6
        ),
        "adaboost_of_trees": lambda _columns, task: adaboost(_model("tree", task), n_estimators=10),
        "neighbours_by_distance": lambda _columns, _task: make_pipeline(
            StandardScaler(), neighbours(7, weights="distance")
        ),
        "hgb_early_stopping": lambda _columns, task: _model("hgb", task).set_params(early_stopping=True),
        "hgb_monotone": lambda columns, task: _model("hgb", task).set_params(
            **({} if task == "multiclass" else {"monotonic_cst": [1] + [0] * (len(columns.names) - 1)})
        ),
    }
    for trees in (10, 20, 25, 70, 90, 250):
        found[f"forest_of_{trees}"] = partial(_forest_of, trees)
    return found


def _forest_of(trees: int, _columns: Columns, task: Task) -> Any:
    return (RandomForestRegressor if task == "regression" else RandomForestClassifier)(trees)


def _score(task: Task) -> Any:
    return f_regression if task == "regression" else f_classif


def _classifications(task: Task) -> dict[str, Build]:
    def scaled(model: Any) -> Any:
        return make_pipeline(StandardScaler(), model)

    found: dict[str, Build] = {
        "ovr_linear": lambda _c, _t: scaled(OneVsRestClassifier(LogisticRegression(max_iter=300))),
        "ovo_linear": lambda _c, _t: scaled(OneVsOneClassifier(LogisticRegression(max_iter=300))),
        "ovr_forest": lambda _c, _t: OneVsRestClassifier(RandomForestClassifier(20)),
        "svc_probability": lambda _c, _t: scaled(SVC(probability=True)),
        "svc_without_probability": lambda _c, _t: scaled(SVC()),
        "lda": lambda _c, _t: scaled(LinearDiscriminantAnalysis()),
        "lda_as_step": lambda _c, _t: make_pipeline(LinearDiscriminantAnalysis(n_components=1), GaussianNB()),
        "voting_hard": lambda _c, t: VotingClassifier([(k, _model(k, t)) for k in ("tree", "linear")]),
        "balanced_linear": lambda _c, _t: scaled(LogisticRegression(class_weight="balanced", max_iter=300)),
        "balanced_forest": lambda _c, _t: RandomForestClassifier(25, class_weight="balanced_subsample"),
    }
    inner: dict[str, Callable[[Task], Any]] = {
        "forest": lambda t: _model("forest", t),
        "hgb": lambda t: _model("hgb", t),
        "linear_svc": lambda _t: LinearSVC(),
        "svc": lambda _t: SVC(),
        "pipeline_with_linear_svc": lambda _t: scaled(LinearSVC()),
        "pipeline_with_forest": lambda t: scaled(_model("forest", t)),
        "naive_bayes": lambda _t: GaussianNB(),
    }
    for name, make in inner.items():
        for method in ("sigmoid", "isotonic", "temperature"):
            found[f"calibrated_{method}+{name}"] = partial(_calibrated, make, method, True)
        found[f"calibrated_once+{name}"] = partial(_calibrated, make, "sigmoid", False)
    if task == "binary":
        found |= {
            "tuned_threshold+linear": lambda _c, t: TunedThresholdClassifierCV(scaled(_model("linear", t)), cv=3),
            "tuned_threshold+forest": lambda _c, t: TunedThresholdClassifierCV(_model("forest", t), cv=3),
            "tuned_threshold+hgb": lambda _c, t: TunedThresholdClassifierCV(_model("hgb", t), cv=3),
            "fixed_threshold+linear": lambda _c, t: FixedThresholdClassifier(
                scaled(_model("linear", t)), threshold=0.3
            ),
            "fixed_threshold+forest": lambda _c, t: FixedThresholdClassifier(_model("forest", t), threshold=0.3),
            "fixed_threshold_in_search": lambda _c, t: GridSearchCV(
                FixedThresholdClassifier(_model("tree", t), threshold=0.3), {"estimator__max_depth": [2, 5]}, cv=3
            ),
        }
    return found


def _calibrated(make: Callable[[Task], Any], method: str, ensemble: bool, _columns: Columns, task: Task) -> Any:
    return CalibratedClassifierCV(make(task), method=method, ensemble=ensemble, cv=3)


def _regressions() -> dict[str, Build]:
    found: dict[str, Build] = {
        f"hgb_{loss}": partial(_hgb_loss, loss) for loss in ("absolute_error", "poisson", "gamma", "quantile")
    }
    log: dict[str, Any] = {"func": np.log, "inverse_func": np.exp}
    targets: dict[str, Callable[[], TransformedTargetRegressor]] = {
        "log1p": lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        "log": lambda: TransformedTargetRegressor(Ridge(), **log),
        "sqrt": lambda: TransformedTargetRegressor(Ridge(), func=np.sqrt, inverse_func=np.square),
        "standard": lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        "quantile": lambda: TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=50)),
        "power": lambda: TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()),
        "log_of_forest": lambda: TransformedTargetRegressor(_model("forest", "regression"), **log),
        "log_of_hgb": lambda: TransformedTargetRegressor(_model("hgb", "regression"), **log),
    }
    for name, make in targets.items():
        found[f"target_{name}"] = partial(_target, make)
    found["polynomial_elastic_net"] = lambda _c, _t: make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), ElasticNet(0.1)
    )
    return found


def _hgb_loss(loss: str, _columns: Columns, _task: Task) -> Any:
    return HistGradientBoostingRegressor(max_iter=30, loss=loss, quantile=0.8 if loss == "quantile" else None)


def _target(make: Callable[[], Any], _columns: Columns, _task: Task) -> Any:
    return make()


def _on_categories(task: Task) -> dict[str, Build]:
    found: dict[str, Build] = {}
    for name, make in CATEGORIES.items():
        for kind in ("linear", "forest", "hgb"):
            found[f"{name}+{kind}"] = partial(_with_categories, make, kind)
    for kind in ("forest", "hgb", "linear", "extra_trees"):
        found[f"codes+{kind}"] = partial(_codes, kind)
    return found | {
        "scaled_onehot+linear": lambda c, t: make_pipeline(
            encoder(c, OneHotEncoder(handle_unknown="ignore"), StandardScaler()), _model("linear", t)
        ),
        "scaled_onehot+forest": lambda c, t: make_pipeline(
            encoder(c, OneHotEncoder(handle_unknown="ignore"), StandardScaler()), _model("forest", t)
        ),
        "hgb_categorical_features": lambda c, t: _model("hgb", t).set_params(categorical_features=c.categorical),
        "hgb_categorical_features_behind_encoder": lambda c, t: make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), c.categorical),
                remainder="passthrough",
            ),
            _model("hgb", t).set_params(categorical_features=list(range(len(c.categorical)))),
        ),
        "columns_by_name": lambda _c, t: make_pipeline(
            ColumnTransformer(
                [
                    ("numbers", SimpleImputer(), ["distance", "hour"]),
                    ("one", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
                    ("scaled", make_pipeline(SimpleImputer(), StandardScaler()), ["dep_delay", "air_time"]),
                ]
            ),
            _model("forest", t),
        ),
        "columns_by_callable": lambda c, t: make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(), StandardScaler()), lambda _x: c.numeric),
                (OneHotEncoder(handle_unknown="ignore"), lambda _x: c.categorical),
            ),
            _model("linear", t),
        ),
        "columns_by_selector": lambda _c, t: make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector("^(distance|dep_delay)$")),
                (OneHotEncoder(handle_unknown="ignore"), make_column_selector("^(carrier|origin)$")),
            ),
            _model("linear", t),
        ),
        "columns_by_slice": lambda _c, t: make_pipeline(
            make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), slice(0, 4)), remainder="drop"),
            _model("linear", t),
        ),
    }


def _with_categories(make: Callable[[], Any], kind: str, columns: Columns, task: Task) -> Any:
    return make_pipeline(encoder(columns, make()), _model(kind, task))


def _codes(kind: str, _columns: Columns, task: Task) -> Any:
    return _model(kind, task)
